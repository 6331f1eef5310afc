/**
 * Money, durations, instants and sizes as people read them. Pure.
 *
 * The same rules as the service's pages, so that the same number never looks different in two places. Money stays an
 * integer: it is rounded half-even once, when it is shown.
 */
import { isInstant, type Service } from './wire';

/** The part of a translation bundle that is needed here. */
export interface Words {
  __(msgid: string, ...args: any[]): string;
  _n(msgid: string, msgidPlural: string, n: number, ...args: any[]): string;
}

/** Where and how a person reads instants; the browser's zone when `timeZone` is left out. */
export interface Place {
  locale: string;
  timeZone?: string;
}

const MICROS = 1_000_000;
export const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3_600_000;
const SYMBOLS: Record<string, string> = { USD: '$', EUR: '€', GBP: '£', JPY: '¥', KRW: '₩' };
const UNITS: [number, string][] = [
  [1024 ** 4, 'TiB'],
  [1024 ** 3, 'GiB'],
  [1024 ** 2, 'MiB'],
  [1024, 'KiB']
];

/** `$41.20`, `−$2.10`; a currency without a symbol as `1.00 CHF`. */
export function money(creditMicros: number, currency: string, decimals = 2): string {
  const quantum = 10 ** (6 - decimals);
  const amount = Math.abs(Math.trunc(creditMicros));
  let parts = Math.floor(amount / quantum);
  const twice = 2 * (amount % quantum);
  if (twice > quantum || (twice === quantum && parts % 2 === 1)) {
    parts += 1;
  }
  const scale = 10 ** decimals;
  const whole = String(Math.floor(parts / scale)).replace(/\B(?=(\d{3})+$)/g, ',');
  const fraction = decimals ? `.${String(parts % scale).padStart(decimals, '0')}` : '';
  const sign = creditMicros < 0 && parts ? '−' : '';
  const symbol = SYMBOLS[currency];
  return symbol ? `${sign}${symbol}${whole}${fraction}` : `${sign}${whole}${fraction} ${currency}`.trim();
}

/** A price per hour with as many decimals as a small one needs: `$2.39/h`, `$0.0027/h`. */
export function rate(microsPerHour: number, currency: string): string {
  const decimals = microsPerHour % 10_000 === 0 || microsPerHour >= MICROS ? 2 : 4;
  return `${money(microsPerHour, currency, decimals)}/h`;
}

/** `4 GiB`, `1.5 TiB`. */
export function bytes(sizeBytes: number): string {
  for (const [unit, name] of UNITS) {
    if (sizeBytes >= unit) {
      return `${(sizeBytes / unit).toFixed(1).replace(/\.0$/, '')} ${name}`;
    }
  }
  return `${Math.max(0, Math.round(sizeBytes))} B`;
}

/** `2 CPU`, `0.5 CPU`. */
export function cpu(cpuMillis: number): string {
  return `${cpuMillis / 1000} CPU`;
}

/** At most two units: `3 h 20 min`, `2 days 4 h`, `45 s`; the last ten minutes to the second. */
export function duration(ms: number, trans: Words): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86400)];
  if (minutes < 1) {
    return trans.__('%1 s', seconds);
  }
  if (minutes < 10) {
    return trans.__('%1 min %2 s', minutes, String(seconds % 60).padStart(2, '0'));
  }
  if (hours < 1) {
    return trans.__('%1 min', minutes);
  }
  if (hours < 48) {
    return minutes % 60 ? trans.__('%1 h %2 min', hours, minutes % 60) : trans.__('%1 h', hours);
  }
  return hours % 24 && days < 14 ? trans.__('%1 days %2 h', days, hours % 24) : trans.__('%1 days', days);
}

function formatter(place: Place, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat(place.locale, { timeZone: place.timeZone, ...options });
  } catch {
    return new Intl.DateTimeFormat('en', { timeZone: place.timeZone, ...options });
  }
}

/** As short as can be from `nowMs`: `14:20`, `Tue 14:20`, `24 Nov 14:20`, `24 Nov 2027`; empty for no instant. */
export function instant(atMs: number, nowMs: number, place: Place): string {
  if (!isInstant(atMs) || !isInstant(nowMs)) {
    return '';
  }
  const show = (options: Intl.DateTimeFormatOptions) => formatter(place, options).format(atMs);
  const away = Math.abs(atMs - nowMs);
  const time = show({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const day = formatter(place, { year: 'numeric', month: 'numeric', day: 'numeric' });
  if (day.format(atMs) === day.format(nowMs)) {
    return time;
  }
  if (away < 6 * DAY_MS) {
    return `${show({ weekday: 'short' })} ${time}`;
  }
  const date = `${show({ day: 'numeric' })} ${show({ month: 'short' })}`;
  return away < 300 * DAY_MS ? `${date} ${time}` : `${date} ${show({ year: 'numeric' })}`;
}

/** For the tooltip: `2026-11-24 14:20:00 UTC`. */
export function utc(atMs: number): string {
  return validIso(atMs).replace('T', ' ').replace(/\.\d+Z$/, ' UTC');
}

/** For `<time datetime>`; empty for what is no instant. */
export function validIso(atMs: number): string {
  return isInstant(atMs) ? new Date(atMs).toISOString() : '';
}

/** `24 CPU · 240 GiB · 500 GiB temporary`, with the GPUs first when the title does not say them. */
export function resources(spec: Service['spec'], trans: Words): string {
  const gpus = spec.gpuCount > 0 ? `${spec.gpuType || 'GPU'} × ${spec.gpuCount}` : '';
  return [
    gpus && !spec.title.includes(gpus) ? gpus : '',
    spec.cpuMillis ? cpu(spec.cpuMillis) : '',
    spec.memoryBytes ? bytes(spec.memoryBytes) : '',
    spec.temporaryBytes ? trans.__('%1 temporary', bytes(spec.temporaryBytes)) : ''
  ]
    .filter(Boolean)
    .join(' · ');
}

/** How much of a whole, in whole percent between 0 and 100; null when the whole is not known. */
export function percent(part: number, whole: number | null): number | null {
  return whole && whole > 0 ? Math.min(100, Math.max(0, Math.round((100 * part) / whole))) : null;
}

/** As many whole sentences as fit; the first one in any case. JupyterLab cuts what it shows after 140 characters. */
export function sentences(text: string, most = 140): string {
  const ends = [...text.matchAll(/[.!?](?=\s|$)/g)].map(match => match.index + 1);
  const fitting = ends.filter(end => end <= most).pop();
  return text.length <= most ? text : text.slice(0, fitting ?? ends[0] ?? text.length);
}
