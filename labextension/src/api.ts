/**
 * The one door to the server extension.
 *
 * Its answers carry status 300 with a JSON body instead of 200, and requests have no body: the hub's proxy counts
 * everything else as activity of the workspace, and looking at the panel must not keep a workspace awake.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { ApiError, readRefusal, type Sentences } from './refusal';
import { readStatus, type PathKind, type PortType, type Status } from './wire';

const ANSWER_SECONDS_MAX = 30;

export interface PortChoice {
  type: PortType;
  port: number;
  path: PathKind;
}

export class Api {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly sentences: Sentences
  ) {}

  /** The present status; `fresh` asks past the cache that all tabs share. */
  async status(fresh = false): Promise<Status> {
    return this._status('GET', `status${fresh ? '?fresh=1' : ''}`);
  }

  async pause(): Promise<void> {
    const answer = (await this._ask('POST', 'pause')) as { paused?: unknown } | null;
    // a page to sign in is a good answer too, but it has paused nothing
    if (answer?.paused !== true) {
      throw new ApiError(this.sentences.unclear);
    }
  }

  async keepRunning(kind: string): Promise<Status> {
    return this._status('POST', `keep/${encodeURIComponent(kind)}`);
  }

  async putPort(name: string, choice: PortChoice): Promise<Status> {
    const described = encodeURIComponent(JSON.stringify(choice));
    return this._status('PUT', `ports/${encodeURIComponent(name)}?choice=${described}`);
  }

  async deletePort(name: string): Promise<Status> {
    return this._status('DELETE', `ports/${encodeURIComponent(name)}`);
  }

  private async _status(method: string, path: string): Promise<Status> {
    const status = readStatus(await this._ask(method, path));
    if (status === null) {
      throw new ApiError(this.sentences.unclear);
    }
    return status;
  }

  private async _ask(method: string, path: string): Promise<unknown> {
    const url = URLExt.join(this.settings.baseUrl, 'vessl/api', path);
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), ANSWER_SECONDS_MAX * 1000);
    try {
      const response = await ServerConnection.makeRequest(url, { method, signal: stop.signal }, this.settings);
      const answer: unknown = await response.json().catch(() => null);
      if (response.ok || response.status === 300) {
        return answer;
      }
      throw readRefusal(answer, response.status, this.sentences);
    } catch (error) {
      throw error instanceof ApiError ? error : new ApiError(this.sentences.unreachable);
    } finally {
      clearTimeout(timer);
    }
  }
}
