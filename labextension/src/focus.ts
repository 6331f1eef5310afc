/**
 * Where the keyboard goes when what it was on disappears.
 *
 * A browser lets the focus of a removed element fall to the page's body, and who works without a mouse starts again
 * from the top.
 */

/** What had the focus, with the places that it may go back to: the nearest first. */
export interface Held {
  element: Element;
  places: HTMLElement[];
}

/** What has the focus within `root`; ask before it is drawn again. */
export function heldIn(root: HTMLElement): Held | null {
  const element = root.ownerDocument.activeElement;
  if (!element || element === root || !root.contains(element)) {
    return null;
  }
  const places = [
    element.closest<HTMLElement>('li[tabindex]'),
    element.closest('.vessl-Section')?.querySelector<HTMLElement>('h3[tabindex]'),
    root.closest<HTMLElement>('[tabindex]')
  ];
  return { element, places: places.filter((place): place is HTMLElement => place != null) };
}

/** Give the focus to the nearest place that is still there, if what had it is not; call after drawing. */
export function keepFocus(held: Held | null): void {
  if (!held || held.element.isConnected) {
    return;
  }
  const place = held.places.find(one => one.isConnected);
  const { activeElement, body } = place?.ownerDocument ?? { activeElement: null, body: null };
  // whoever moved it elsewhere meanwhile knew better
  if (place && (!activeElement || activeElement === body)) {
    place.focus();
  }
}
