import assert from 'node:assert/strict';
import test from 'node:test';

import { bytes, duration, instant, money, percent, rate, resources, sentences, utc, validIso } from '../format';
import { seoul, words } from './words';

const at = (iso: string) => Date.parse(iso);

test('money has two decimals, its unit, groups of three and a real minus', () => {
  assert.equal(money(41_200_000, 'USD'), '$41.20');
  assert.equal(money(-2_104_000, 'USD'), '−$2.10');
  assert.equal(money(1_234_567_890_000, 'EUR'), '€1,234,567.89');
  assert.equal(money(1_000_000, 'CHF'), '1.00 CHF');
  assert.equal(money(1_234_567, 'USD', 6), '$1.234567');
});

test('money is rounded half-even once, as the service rounds it', () => {
  assert.equal(money(5_000, 'USD'), '$0.00');
  assert.equal(money(15_000, 'USD'), '$0.02');
  assert.equal(money(25_000, 'USD'), '$0.02');
  assert.equal(money(25_001, 'USD'), '$0.03');
  assert.equal(money(-4_000, 'USD'), '$0.00', 'zero has no sign');
  assert.equal(money(999_999_999_999_999, 'USD'), '$1,000,000,000.00');
});

test('a small price gets the decimals that it needs', () => {
  assert.equal(rate(2_390_000, 'USD'), '$2.39/h');
  assert.equal(rate(2_700, 'USD'), '$0.0027/h');
  assert.equal(rate(50_000, 'USD'), '$0.05/h');
  assert.equal(rate(1_234_500, 'USD'), '$1.23/h');
});

test('durations are said in at most two units, and the last ten minutes to the second', () => {
  const said = (seconds: number) => duration(seconds * 1000, words);
  assert.equal(said(-5), '0 s');
  assert.equal(said(45), '45 s');
  assert.equal(said(65), '1 min 05 s');
  assert.equal(said(600), '10 min');
  assert.equal(said(12_000), '3 h 20 min');
  assert.equal(said(7200), '2 h');
  assert.equal(said(187_200), '2 days 4 h');
  assert.equal(said(20 * 86_400 + 7200), '20 days');
});

test('an instant is as short as the distance allows, in the reader’s zone', () => {
  const now = at('2026-11-22T00:00:00Z'); // 09:00 in Seoul
  assert.equal(instant(at('2026-11-22T05:20:00Z'), now, seoul), '14:20');
  assert.equal(instant(at('2026-11-22T15:05:00Z'), now, seoul), 'Mon 00:05');
  assert.equal(instant(at('2026-11-24T05:20:00Z'), now, seoul), 'Tue 14:20');
  assert.equal(instant(at('2026-12-24T05:20:00Z'), now, seoul), '24 Dec 14:20');
  assert.equal(instant(at('2028-02-24T05:20:00Z'), now, seoul), '24 Feb 2028');
  assert.equal(instant(at('2026-11-22T05:20:00Z'), now, { ...seoul, locale: 'no such locale' }), '14:20');
});

test('an instant is exact on hover, and nonsense is nothing', () => {
  assert.equal(utc(at('2026-11-24T05:20:00Z')), '2026-11-24 05:20:00 UTC');
  assert.equal(validIso(Infinity), '');
  assert.equal(validIso(1e300), '');
  const now = at('2026-11-22T00:00:00Z');
  for (const nonsense of [NaN, Infinity, 1e300, 8.64e15 + 1, -8.64e15 - 1]) {
    assert.equal(instant(nonsense, now, seoul), '');
    assert.equal(instant(now, nonsense, seoul), '');
    assert.equal(utc(nonsense), '');
  }
});

test('sizes and shares', () => {
  assert.equal(bytes(0), '0 B');
  assert.equal(bytes(1536 * 1024 ** 3), '1.5 TiB');
  assert.equal(bytes(4 * 1024 ** 3), '4 GiB');
  assert.equal(percent(1, 3), 33);
  assert.equal(percent(5, 3), 100);
  assert.equal(percent(1, null), null);
  assert.equal(percent(1, 0), null);
});

test('resources name the GPUs only when the title does not', () => {
  const spec = { title: 'H100 × 1', gpuType: 'H100', gpuCount: 1, cpuMillis: 500, memoryBytes: 2 ** 30, temporaryBytes: 0 };
  assert.equal(resources(spec, words), '0.5 CPU · 1 GiB');
  assert.equal(resources({ ...spec, title: 'large' }, words), 'H100 × 1 · 0.5 CPU · 1 GiB');
});

test('a long notice ends with a whole sentence', () => {
  const first = 'Acme has $50.00 left.';
  const second = 'At the present rate everything that runs is paused in 19 h 59 min, when credits reach −$10.00.';
  assert.equal(sentences(`${first} ${second} A top-up before then keeps it running.`), `${first} ${second}`);
  assert.equal(sentences(`${first} ${second}`), `${first} ${second}`);
  assert.equal(sentences('x'.repeat(200)), 'x'.repeat(200));
  assert.equal(sentences(`${'x'.repeat(200)}. More.`), `${'x'.repeat(200)}.`);
  assert.equal(sentences(''), '');
});
