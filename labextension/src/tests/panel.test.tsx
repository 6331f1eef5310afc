import assert from 'node:assert/strict';
import test from 'node:test';

import './page';

import React from 'react';

import { Boundary } from '../boundary';
import type { Context } from '../context';
import { Guarded } from '../panel/panel';
import { Refusal } from '../panel/parts';
import { ApiError } from '../refusal';
import { StatusItem } from '../statusbar';
import { readStatus } from '../wire';
import { seoul, words } from './words';

const { renderToStaticMarkup } = require('react-dom/server') as { renderToStaticMarkup(of: React.ReactNode): string };

const NOW = Date.parse('2026-11-22T00:00:00Z');
const FIRST = 'Acme has $50.00 left. At the present rate everything is paused in 19 h 59 min, when credits reach −$10.00.';
const REST = 'A top-up before then keeps it running.';
const NAMES = { title: 'WORKSPACE', image_title: 'IMAGE', cluster_title: 'CLUSTER' };

function answer(): Record<string, any> {
  return {
    at_ms: NOW,
    service: {
      workspace: { ...NAMES, state: 'running', currency: 'USD' },
      spec: { title: 'SPEC' },
      team_title: 'TEAM',
      credits: { title: 'ORGANIZATION', currency: 'USD', balance_micros: 41_200_000 },
      notices: [{ id: 1, at_ms: NOW, level: 'warning', message: `${FIRST} ${REST}` }],
      pauses: [{ kind: 'credits', at_ms: NOW + 3_600_000, sentence: 'Credits are used up.' }],
      pages_url: '/services/vessl/',
      at_ms: NOW
    },
    ports: [{ name: 'PORT', port: 3000, process: 'PROCESS', address: 'ADDRESS', declared: true }],
    volumes: [{ mount_path: '/MOUNT', name: 'VOLUME' }]
  };
}

/** What everything is given, with the model as it would be; `known` overrides parts of it. */
function context(of: object, known: object = {}): Context {
  const status = readStatus(of);
  const signal = { connect: () => true, disconnect: () => true };
  const calm = { isPaused: false, isGone: false, isStopped: false, problem: '', state: status?.service?.state };
  const model = { status, changed: signal, now: () => NOW, ...calm, ...known };
  const settings = () => ({ showInStatusBar: true, notices: true, openPortsIn: 'tab' });
  return { app: {}, model, trans: words, place: seoul, settings } as unknown as Context;
}

function drawn(of: object, known: object = {}): string {
  const root = { ownerDocument: { activeElement: null } } as unknown as HTMLElement;
  return renderToStaticMarkup(<Guarded context={context(of, known)} root={root} isShown={() => true} />);
}

const GONE = { isGone: true, isStopped: true, state: 'stopped', problem: 'This workspace does not run any more.' };

test('names that people gave are kept apart from the words around them', () => {
  const html = drawn(answer());
  const names = ['WORKSPACE', 'IMAGE', 'CLUSTER', 'SPEC', 'TEAM', 'ORGANIZATION', 'PORT', 'ADDRESS', '/MOUNT', 'VOLUME'];
  for (const name of names) {
    assert.match(html, new RegExp(`<bdi[^>]*>${name}</bdi>`), name);
  }
  assert.match(html, /<bdi[^>]*>PROCESS/);
});

test('a name of any length keeps its whole text on hover', () => {
  const long = answer();
  long.service.team_title = 'T'.repeat(200);
  assert.match(drawn(long), /title="T{200}"/);
});

test('the panel brings no landmark of a whole page', () => {
  assert.doesNotMatch(drawn(answer()), /<(header|footer|main|aside)\b/);
});

test('a long notice is there in full', () => {
  const html = drawn(answer());
  assert.ok(html.includes(FIRST));
  assert.match(html, new RegExp(`<details[^>]*><summary>More</summary><p>${REST}</p></details>`));
  const short = answer();
  short.service.notices = [{ id: 1, level: 'info', message: 'Short.' }];
  assert.match(drawn(short), /Short\./);
  assert.doesNotMatch(drawn(short), /<details/);
});

test('a workspace that does not run says so, leads to where it is resumed, and offers nothing that needs it', () => {
  const html = drawn(answer(), GONE);
  assert.match(html, /This workspace does not run any more\..*<a href="https:\/\/hub\.example\/services\/vessl\/">/);
  assert.match(html, /Not running/);
  assert.doesNotMatch(html, /Running|Add a port|Pause now|Price/);
  const evil = answer();
  evil.service.pages_url = 'javascript:alert(1)';
  assert.doesNotMatch(drawn(evil, GONE), /javascript:|<a /);
  assert.match(drawn({ at_ms: NOW }, GONE), /does not run any more/, 'also before anything was known');
});

test('a refusal says what to do about it', () => {
  assert.match(renderToStaticMarkup(<Refusal error={new ApiError('Not so.', 'Do this.')} />), /Not so\. Do this\./);
});

test('instants that are none leave the rest of the panel as it is', () => {
  for (const wrong of [8.64e15 + 1, -1e300, 1e300]) {
    const faulty = answer();
    faulty.service.workspace.since_ms = wrong;
    faulty.service.workspace.lasts_until_ms = wrong;
    faulty.service.pauses[0].at_ms = wrong;
    faulty.service.last_end = { at_ms: wrong, sentence: 'Paused by mia.' };
    faulty.service.notices[0].at_ms = wrong;
    faulty.service.at_ms = wrong;
    const html = drawn(faulty);
    assert.match(html, /WORKSPACE/);
    assert.match(html, /<p>Paused by mia\.<\/p>/);
    assert.match(html, /\$41\.20/);
    assert.doesNotMatch(html, /Invalid|1970/);
  }
});

test('what cannot be drawn is one sentence, until the next good answer', () => {
  const [first, next] = [{}, {}];
  const boundary = new Boundary({ of: first, instead: 'sentence', children: 'content' });
  const derive = (of: unknown) => {
    const props = { ...boundary.props, of };
    const derived = Boundary.getDerivedStateFromProps(props, boundary.state);
    Object.assign(boundary, { props, state: { ...boundary.state, ...derived } });
    return boundary.render();
  };
  assert.equal(derive(first), 'content');
  Object.assign(boundary, { state: { ...boundary.state, ...Boundary.getDerivedStateFromError() } });
  assert.equal(derive(first), 'sentence', 'drawing again what failed would fail again');
  assert.equal(derive(next), 'content');
});

test('the panel and the status item stand behind such a boundary', () => {
  const render = Boundary.prototype.render;
  Boundary.prototype.render = function () {
    return [String(this.props.of === given.model.status), this.props.instead];
  };
  const given = context(answer());
  try {
    const root = { ownerDocument: { activeElement: null } } as unknown as HTMLElement;
    const item = new StatusItem(given) as unknown as { render(): JSX.Element };
    for (const part of [<Guarded context={given} root={root} isShown={() => true} />, item.render()]) {
      assert.match(renderToStaticMarkup(part), /^true.*The last answer could not be shown/s);
    }
  } finally {
    Boundary.prototype.render = render;
  }
});

test('the status item says it too when the workspace does not run', () => {
  const item = new StatusItem(context(answer(), GONE)) as unknown as { render(): JSX.Element };
  const html = renderToStaticMarkup(item.render());
  assert.match(html, />Not running · \$41\.20 left</);
  assert.match(html, /title="This workspace does not run any more\./);
});

test('what could not be measured is unknown and not nothing', () => {
  const html = drawn({ ...answer(), usage: { cpu_percent: null, memory_bytes: null, memory_bytes_limit: 2 ** 30 } });
  assert.equal(html.match(/>unknown</g)?.length, 2);
  assert.doesNotMatch(html, /role="meter"/);
  const measured = drawn({ ...answer(), usage: { cpu_percent: 0, memory_bytes: 0, memory_bytes_limit: 2 ** 30 } });
  assert.doesNotMatch(measured, />unknown</);
  assert.match(measured, /0 %/);
});
