import assert from 'node:assert/strict';
import test from 'node:test';

import { nextPause, summarize } from '../summary';
import { readStatus, type Service } from '../wire';
import { seoul, words } from './words';

const NOW = Date.parse('2026-11-22T00:00:00Z');
const TUESDAY = Date.parse('2026-11-24T05:20:00Z');
const HOUR = 3_600_000;

function service(changes: { workspace?: object; credits?: object; pauses?: object[] } = {}): Service {
  const status = readStatus({
    at_ms: NOW,
    service: {
      workspace: { state: 'running', currency: 'USD', rate_micros_per_hour: 2_390_000, ...changes.workspace },
      credits: { currency: 'USD', balance_micros: 41_200_000, tone: 'fine', ...changes.credits },
      pauses: changes.pauses ?? [{ kind: 'credits', at_ms: TUESDAY, sentence: 'Credits run out.' }]
    }
  });
  assert.ok(status?.service);
  return status.service;
}

const text = (of: Service) => summarize(of, NOW, seoul, words).text;

test('says price, credits left and until when they last', () => {
  assert.deepEqual(summarize(service(), NOW, seoul, words), {
    text: '$2.39/h · $41.20 left · until Tue 14:20',
    tone: 'fine',
    warning: ''
  });
});

test('says in words, not only in colour, that credits are low or used up', () => {
  const low = service({ credits: { tone: 'low', balance_micros: 4_000_000, warning: 'Ask ada.' } });
  assert.deepEqual(summarize(low, NOW, seoul, words), {
    text: 'Low credits · $2.39/h · $4.00 left · until Tue 14:20',
    tone: 'low',
    warning: 'Ask ada.'
  });
  const below = service({ credits: { tone: 'below', balance_micros: -2_100_000 } });
  assert.equal(text(below), 'No credits left · $2.39/h · −$2.10 · pauses Tue 14:20');
});

test('warns of a pause that is near although credits are fine', () => {
  const soon = service({ pauses: [{ kind: 'max-runtime', at_ms: NOW + 600_000, sentence: 'It ran for 24 h.' }] });
  assert.deepEqual(summarize(soon, NOW, seoul, words), {
    text: '$2.39/h · $41.20 left · pauses 09:10',
    tone: 'low',
    warning: 'It ran for 24 h.'
  });
});

test('shows idleness only when it is near, whatever the order of the answer', () => {
  const idle = (at_ms: number) => service({ pauses: [{ kind: 'credits', at_ms: TUESDAY }, { kind: 'idle', at_ms }] });
  assert.equal(nextPause(idle(NOW + 2 * HOUR), NOW)?.kind, 'credits');
  assert.equal(nextPause(idle(NOW + 60_000), NOW)?.kind, 'idle');
});

test('takes the time that credits last when the service names no pause, and says none when there is none', () => {
  assert.equal(
    text(service({ pauses: [], workspace: { lasts_until_ms: TUESDAY } })),
    '$2.39/h · $41.20 left · until Tue 14:20'
  );
  assert.equal(text(service({ pauses: [] })), '$2.39/h · $41.20 left');
});

test('never shows an instant that has passed', () => {
  assert.match(text(service({ pauses: [{ kind: 'credits', at_ms: NOW - HOUR }] })), /pauses 09:00$/);
});

test('a workspace that does not run has no price', () => {
  assert.equal(text(service({ workspace: { state: 'paused' } })), 'Paused · $41.20 left');
  assert.equal(text(service({ workspace: { state: 'pending' } })), 'Starting · $41.20 left');
  assert.equal(text(service({ workspace: { state: 'stopped' } })), 'Not running · $41.20 left');
  assert.equal(text(service({ workspace: { state: 'failed' } })), 'Failed · $41.20 left');
});
