import assert from 'node:assert/strict';
import test from 'node:test';

import { readStatus } from '../wire';

test('what is no status is null', () => {
  for (const answer of [null, undefined, 3, 'text', [], {}, { at_ms: '1' }, '<html>']) {
    assert.equal(readStatus(answer), null);
  }
});

test('missing and wrong parts become empty and never throw', () => {
  const status = readStatus({ at_ms: 1, service: { workspace: 3, pauses: 'x', spec: null }, usage: 7, ports: [null, 3] });
  assert.equal(status?.service?.title, '');
  assert.deepEqual(status?.service?.pauses, []);
  assert.equal(status?.usage?.memoryBytes, 0);
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
