/** The workspace as this page knows it: polls gently, acts, and tells who listens. */
import { Poll } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';

import { ApiError, type Api, type PortChoice } from './api';
import type { Status } from './wire';

const POLL_MS = 15_000;
const BACK_OFF_MS_MAX = 60_000;

export class WorkspaceModel {
  constructor(private readonly api: Api) {
    this._poll = new Poll({
      name: 'jupyterhub-vessl-lab:status',
      factory: () => this._ask(false),
      frequency: { interval: POLL_MS, backoff: true, max: BACK_OFF_MS_MAX },
      // a tab that nobody looks at asks nothing
      standby: () => (document.hidden ? 'when-hidden' : 'never')
    });
    document.addEventListener('visibilitychange', this._onVisible);
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

  /** Whether a person has paused the workspace from this page: there is nothing left to ask. */
  get isPaused(): boolean {
    return this._isPaused;
  }

  /** Now by the service's clock, in UTC milliseconds: countdowns must not depend on the browser's. */
  now(): number {
    return Date.now() + this._aheadMs;
  }

  async pause(): Promise<void> {
    await this.api.pause();
    this._isPaused = true;
    void this._poll.stop();
    document.removeEventListener('visibilitychange', this._onVisible);
    this._changed.emit();
  }

  async putPort(name: string, choice: PortChoice): Promise<void> {
    this._take(await this.api.putPort(name, choice));
  }

  async deletePort(name: string): Promise<void> {
    this._take(await this.api.deletePort(name));
  }

  async keepRunning(kind: string): Promise<void> {
    this._take(await this.api.keepRunning(kind));
  }

  /** Ask now, past the caches; a failure shows in `problem`. */
  async refresh(): Promise<void> {
    await this._ask(true).catch(() => undefined);
  }

  private async _ask(fresh: boolean): Promise<void> {
    const asked = ++this._asked;
    try {
      const status = await this.api.status(fresh);
      // an answer that an action has overtaken is old
      if (asked === this._asked) {
        this._take(status);
      }
    } catch (error) {
      if (!this._isPaused && asked === this._asked) {
        this._problem = error instanceof ApiError ? error.message : String(error);
        this._changed.emit();
      }
      throw error;
    }
  }

  private _take(status: Status): void {
    this._asked++;
    this._status = status;
    this._problem = '';
    this._aheadMs = status.atMs - Date.now();
    this._changed.emit();
  }

  private readonly _onVisible = (): void => {
    if (!document.hidden) {
      void this._poll.refresh().catch(() => undefined);
    }
  };

  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private _status: Status | null = null;
  private _problem = '';
  private _isPaused = false;
  private _aheadMs = 0;
  private _asked = 0;
}
