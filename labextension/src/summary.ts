/** What the status bar says about a workspace: one line, and how urgent it is. Pure. */
import { instant, MINUTE_MS, money, rate, type Place, type Words } from './format';
import type { Pause, Service, Tone } from './wire';

/** Any keystroke moves the end of idleness, so it is worth a place in the status bar only when it is near. */
const IDLE_SHOWN_MS = 15 * MINUTE_MS;
const SOON_MS = 15 * MINUTE_MS;

export interface Summary {
  text: string;
  tone: Tone;
  /** What the colour means, as a sentence; empty while all is fine. */
  warning: string;
}

/** The earliest thing that will pause the workspace, as far as it can be foreseen; null when nothing will. */
export function nextPause(service: Service, nowMs: number): Pause | null {
  const found = service.pauses.find(pause => pause.kind !== 'idle' || pause.atMs - nowMs < IDLE_SHOWN_MS);
  if (found || service.lastsUntilMs === null) {
    return found ?? null;
  }
  return { kind: 'credits', atMs: service.lastsUntilMs, sentence: '', mayKeep: false };
}

/** What a workspace that does not run is doing, in a word or two. */
function stateInWords(state: string, trans: Words): string {
  const words: Record<string, string> = {
    pending: trans.__('Starting'),
    failed: trans.__('Failed'),
    terminated: trans.__('Terminated'),
    stopped: trans.__('Not running')
  };
  return words[state] ?? trans.__('Paused');
}

/** `$2.39/h · $41.20 left · until Tue 14:20`, in other words when credits are low or used up. */
export function summarize(service: Service, nowMs: number, place: Place, trans: Words): Summary {
  const { credits } = service;
  const balance = money(credits.balanceMicros, credits.currency);
  const left = trans.__('%1 left', balance);
  if (service.state !== 'running') {
    const words = stateInWords(service.state, trans);
    return { text: `${words} · ${credits.tone === 'below' ? balance : left}`, tone: credits.tone, warning: credits.warning };
  }
  const pause = nextPause(service, nowMs);
  const soon = pause !== null && pause.atMs - nowMs < SOON_MS;
  const when = pause && instant(Math.max(pause.atMs, nowMs), nowMs, place);
  const parts = [rate(service.rateMicrosPerHour, service.currency)];
  if (credits.tone === 'below') {
    parts.unshift(trans.__('No credits left'));
    parts.push(balance);
  } else {
    parts.push(left);
  }
  if (when) {
    parts.push(soon || credits.tone === 'below' ? trans.__('pauses %1', when) : trans.__('until %1', when));
  }
  if (credits.tone === 'low') {
    parts.unshift(trans.__('Low credits'));
  }
  const tone = credits.tone === 'fine' && soon ? 'low' : credits.tone;
  return { text: parts.join(' · '), tone, warning: credits.warning || (soon && pause ? pause.sentence : '') };
}
