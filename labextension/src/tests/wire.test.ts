import assert from 'node:assert/strict';
import test from 'node:test';

import { isOlder, readStatus } from '../wire';

test('what is no status is null', () => {
  for (const answer of [null, undefined, 3, 'text', [], {}, { at_ms: '1' }, '<html>']) {
    assert.equal(readStatus(answer), null);
  }
});

test('missing and wrong parts become empty and never throw', () => {
  const status = readStatus({ at_ms: 1, service: { workspace: 3, pauses: 'x', spec: null }, usage: 7, ports: [null, 3] });
  assert.equal(status?.service?.title, '');
  assert.deepEqual(status?.service?.pauses, []);
  assert.equal(status?.usage?.memoryBytes, null);
  assert.equal(status?.usage?.cpuPercent, null);
  assert.equal(status?.ports.length, 2);
  assert.equal(readStatus({ at_ms: 1 })?.service, null);
});

test('unknown words of a newer service become the harmless ones', () => {
  const status = readStatus({
    at_ms: 1,
    service: { credits: { tone: 'purple' }, notices: [{ id: 1, level: 'fatal', message: 'm' }] },
    ports: [{ port: 3000, type: 'udp', path: 'odd' }]
  });
  assert.equal(status?.service?.credits.tone, 'fine');
  assert.equal(status?.service?.notices[0]?.level, 'info');
  assert.deepEqual([status?.ports[0]?.type, status?.ports[0]?.path], ['http', 'stripped']);
});

test('text and lists are bounded', () => {
  const status = readStatus({ at_ms: 1, problem: 'x'.repeat(1e6), ports: Array(5000).fill({ port: 1 }) });
  assert.equal(status?.problem.length, 1000);
  assert.equal(status?.ports.length, 1000);
});

test('pauses come earliest first', () => {
  const status = readStatus({ at_ms: 1, service: { pauses: [{ kind: 'b', at_ms: 2 }, { kind: 'a', at_ms: 1 }] } });
  assert.deepEqual(status?.service?.pauses.map(pause => pause.kind), ['a', 'b']);
});

test('instants that no date holds are refused at the door', () => {
  for (const wrong of [8.64e15 + 1, -8.64e15 - 1, 1e300, NaN, Infinity, '1']) {
    assert.equal(readStatus({ at_ms: wrong }), null);
    const service = readStatus({
      at_ms: 5,
      service: {
        workspace: { since_ms: wrong, lasts_until_ms: wrong },
        pauses: [{ kind: 'a', at_ms: wrong }, { kind: 'b', at_ms: 7 }],
        last_end: { at_ms: wrong, sentence: 'It ended.' },
        notices: [{ id: 1, at_ms: wrong, message: 'm' }],
        at_ms: wrong
      }
    })?.service;
    assert.ok(service);
    assert.deepEqual([service.atMs, service.sinceMs, service.lastsUntilMs], [5, 0, null]);
    assert.deepEqual(service.pauses.map(pause => pause.kind), ['b']);
    assert.deepEqual([service.lastEnd?.atMs, service.lastEnd?.sentence, service.notices[0]?.atMs], [0, 'It ended.', 0]);
  }
});

test('of two answers the service’s instant says which is older, then the server’s', () => {
  const status = (at_ms: number, service: object | null) => {
    const read = readStatus({ at_ms, service });
    assert.ok(read);
    return read;
  };
  assert.equal(isOlder(status(9, { at_ms: 1 }), status(5, { at_ms: 2 })), true);
  assert.equal(isOlder(status(5, { at_ms: 2 }), status(9, { at_ms: 1 })), false);
  assert.equal(isOlder(status(5, { at_ms: 2 }), status(6, { at_ms: 2 })), true);
  assert.equal(isOlder(status(5, { at_ms: 2 }), status(5, { at_ms: 2 })), false);
  assert.equal(isOlder(status(9, null), status(5, { at_ms: 2 })), true);
});
