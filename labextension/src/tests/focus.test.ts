import assert from 'node:assert/strict';
import test from 'node:test';

import { heldIn, keepFocus } from '../focus';

/** As much of a page as the focus needs: a panel with a section, its heading, and a row with a button. */
function panel() {
  const body = {};
  const ownerDocument = { activeElement: body as unknown, body };
  const place = () => {
    const element = { isConnected: true, ownerDocument, focus: () => void (ownerDocument.activeElement = element) };
    return element;
  };
  const [sidebar, heading, row] = [place(), place(), place()];
  const section = { querySelector: () => heading };
  const found: Record<string, unknown> = { 'li[tabindex]': row, '.vessl-Section': section };
  const button = { ...place(), closest: (selector: string) => found[selector] ?? null };
  const root = { ownerDocument, contains: (element: unknown) => element === button, closest: () => sidebar };
  return { body, ownerDocument, sidebar, heading, row, button, root: root as unknown as HTMLElement };
}

test('the focus of what disappears goes to the nearest place that stays', () => {
  for (const gone of [[], ['row'], ['row', 'heading']] as ('row' | 'heading')[][]) {
    const { ownerDocument, body, button, root, ...places } = panel();
    ownerDocument.activeElement = button;
    const held = heldIn(root);
    button.isConnected = false;
    ownerDocument.activeElement = body;
    gone.forEach(name => (places[name].isConnected = false));
    keepFocus(held);
    const expected = [places.row, places.heading, places.sidebar][gone.length];
    assert.equal(ownerDocument.activeElement, expected, gone.join());
  }
});

test('the focus is left alone when it stays, was moved, or was elsewhere', () => {
  const { ownerDocument, button, heading, root } = panel();
  assert.equal(heldIn(root), null, 'it is on the page');
  ownerDocument.activeElement = button;
  const held = heldIn(root);
  keepFocus(held);
  assert.equal(ownerDocument.activeElement, button);
  button.isConnected = false;
  ownerDocument.activeElement = heading;
  keepFocus(held);
  assert.equal(ownerDocument.activeElement, heading);
});
