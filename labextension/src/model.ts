/** The workspace as this page knows it: polls gently, acts, and tells who listens. */
import { Poll } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';

import type { Api, PortChoice } from './api';
import { asApiError, GoneError } from './refusal';
import { isOlder, type Status } from './wire';

const USUAL = { interval: 15_000, backoff: true, max: 60_000 };
/** Once paused there is little to learn; but somebody may resume the workspace while this page is open. */
const PAUSED = { interval: 60_000, backoff: false, max: 60_000 };

export class WorkspaceModel {
  constructor(private readonly api: Pick<Api, 'status' | 'pause' | 'putPort' | 'deletePort' | 'keepRunning'>) {
    this._poll = new Poll({
      name: 'jupyterhub-vessl-lab:status',
      auto: false,
      factory: () => this._ask(false),
      frequency: USUAL,
      // a tab that nobody looks at asks nothing
      standby: () => (document.hidden ? 'when-hidden' : 'never')
    });
  }

  /** Begin to ask. */
  start(): void {
    document.addEventListener('visibilitychange', this._onVisible);
    void this._poll.start();
  }

  /** Emitted after every answer, every failure and every action. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The last good answer; null before the first. */
  get status(): Status | null {
    return this._status;
  }

  /** Why `status` is not up to date, as a sentence; empty while it is. */
  get problem(): string {
    return this._problem || (this._status?.problem ?? '');
  }

  /** Whether a person has paused the workspace from this page and it does not run again yet. */
  get isPaused(): boolean {
    return this._isPaused;
  }

  /** Whether the hub says that the workspace does not run: paused from elsewhere, ended or terminated. */
  get isGone(): boolean {
    return this._isGone;
  }

  /** Whether `status` describes something that does not run any more. */
  get isStopped(): boolean {
    return this._isPaused || this._isGone;
  }

  /** The state to show: the service's, unless this page knows better; empty before the service was reached. */
  get state(): string {
    return this._isPaused ? 'paused' : this._isGone ? 'stopped' : (this._status?.service?.state ?? '');
  }

  /** Now by the service's clock, in UTC milliseconds: countdowns must not depend on the browser's. */
  now(): number {
    return Date.now() + this._aheadMs;
  }

  async pause(): Promise<void> {
    await this._noticeGone(this.api.pause());
    this._isPaused = true;
    this._asked++;
    this._askedAtMs = Date.now();
    this._poll.frequency = PAUSED;
    void this._poll.schedule({ phase: 'resolved', interval: PAUSED.interval });
    this._changed.emit();
  }

  async putPort(name: string, choice: PortChoice): Promise<void> {
    await this._act(this.api.putPort(name, choice));
  }

  async deletePort(name: string): Promise<void> {
    await this._act(this.api.deletePort(name));
  }

  async keepRunning(kind: string): Promise<void> {
    await this._act(this.api.keepRunning(kind));
  }

  /** Ask now, past the caches; a failure shows in `problem`. */
  async refresh(): Promise<void> {
    await this._ask(true).catch(() => undefined);
  }

  private async _ask(fresh: boolean): Promise<void> {
    const asked = ++this._asked;
    this._askedAtMs = Date.now();
    try {
      const status = await this.api.status(fresh);
      // an answer that an action has overtaken is old
      if (asked === this._asked) {
        this._take(status);
      }
    } catch (error) {
      if (asked === this._asked) {
        this._fail(error);
      }
      throw error;
    }
  }

  /** Show what an action led to, unless something newer was shown while it was on its way. */
  private async _act(answer: Promise<Status>): Promise<void> {
    const taken = this._taken;
    const status = await this._noticeGone(answer);
    // Without something in between it cannot be late, whatever the instants say: a clock may have been set back.
    if (taken === this._taken || this._status === null || !isOlder(status, this._status)) {
      this._take(status);
    }
  }

  private async _noticeGone<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof GoneError) {
        this._fail(error);
      }
      throw error;
    }
  }

  private _take(status: Status): void {
    this._asked++;
    this._taken++;
    this._status = status;
    this._problem = '';
    this._isGone = false;
    this._aheadMs = status.atMs - Date.now();
    // while it stops, and when the service was not reached, the server may still repeat what was known before
    if (this._isPaused && !status.problem && ['running', 'pending'].includes(status.service?.state ?? '')) {
      this._isPaused = false;
      this._poll.frequency = USUAL;
    }
    this._changed.emit();
  }

  private _fail(error: unknown): void {
    // that a paused workspace does not answer is no news
    if (!this._isPaused) {
      this._problem = asApiError(error).sentence;
      this._isGone = error instanceof GoneError;
      this._changed.emit();
    }
  }

  private readonly _onVisible = (): void => {
    const isDue = !this._isPaused || Date.now() - this._askedAtMs >= PAUSED.interval;
    if (!document.hidden && isDue) {
      void this._poll.refresh().catch(() => undefined);
    }
  };

  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private _status: Status | null = null;
  private _problem = '';
  private _isPaused = false;
  private _isGone = false;
  private _aheadMs = 0;
  /** Grows with every question and every answer, so that an overtaken answer is known as such. */
  private _asked = 0;
  private _askedAtMs = 0;
  private _taken = 0;
}
