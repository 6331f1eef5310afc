/**
 * Which notices were shown already, over reloads and tabs. Pure but for the storage that it is given.
 *
 * A browser may refuse its storage or be out of quota; then the memory of this page has to do.
 */
import type { Level, Notice } from './wire';

const KEPT_MAX = 200;
/** A browser may see many workspaces come and go; those that it saw last are remembered. */
const WORKSPACES_MAX = 20;
const SHOWN_AT_ONCE_MAX = 3;
const LEVELS: Record<Level, number> = { error: 2, warning: 1, info: 0 };
const PREFIX = 'jupyterhub-vessl-lab:';
const SUFFIX = ':seen';

export type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

/** What is kept for one workspace. */
interface Kept {
  at_ms: number;
  ids: number[];
}

function read(value: string | null): Kept {
  const kept: unknown = JSON.parse(value ?? '[]');
  // the first version kept the bare list
  const { at_ms, ids } = (Array.isArray(kept) ? { ids: kept } : (kept ?? {})) as { at_ms?: unknown; ids?: unknown };
  return {
    at_ms: typeof at_ms === 'number' ? at_ms : 0,
    ids: Array.isArray(ids) ? ids.filter(id => Number.isInteger(id)) : []
  };
}

/** When a workspace was last seen; 0 for what is not to be read. */
function seenAtMs(value: string | null): number {
  try {
    return read(value).at_ms;
  } catch {
    return 0;
  }
}

export class SeenNotices {
  constructor(
    workspaceId: string,
    store: () => Store,
    private readonly nowMs: () => number = Date.now
  ) {
    this._key = `${PREFIX}${workspaceId}${SUFFIX}`;
    this._store = store;
  }

  /**
   * The notices that were never shown, oldest first; from now on they count as shown.
   *
   * Somebody who was away for long is not flooded: of many only the most urgent are returned.
   */
  take(notices: readonly Notice[]): Notice[] {
    this._load();
    const fresh = notices.filter(
      (notice, index) =>
        notice.message && !this._seen.has(notice.id) && notices.findIndex(other => other.id === notice.id) === index
    );
    fresh.forEach(notice => this._seen.add(notice.id));
    // once a page also without news: this workspace is one of those seen last
    if (fresh.length || !this._isSaved) {
      this._isSaved = true;
      this._save();
    }
    return [...fresh]
      .sort((a, b) => LEVELS[b.level] - LEVELS[a.level] || b.id - a.id)
      .slice(0, SHOWN_AT_ONCE_MAX)
      .sort((a, b) => a.id - b.id);
  }

  private _load(): void {
    try {
      read(this._store().getItem(this._key)).ids.forEach(id => this._seen.add(id));
    } catch {
      // no storage, or not ours: what this page remembers is enough
    }
  }

  private _save(): void {
    try {
      const store = this._store();
      this._forgetOthers(store);
      const ids = [...this._seen].sort((a, b) => a - b).slice(-KEPT_MAX);
      store.setItem(this._key, JSON.stringify({ at_ms: this.nowMs(), ids } satisfies Kept));
    } catch {
      // no storage, or no quota
    }
  }

  private _forgetOthers(store: Store): void {
    const keys = Array.from({ length: store.length }, (_, index) => store.key(index) ?? '');
    keys
      .filter(key => key.startsWith(PREFIX) && key.endsWith(SUFFIX) && key !== this._key)
      .map(key => ({ key, atMs: seenAtMs(store.getItem(key)) }))
      .sort((a, b) => b.atMs - a.atMs)
      .slice(WORKSPACES_MAX - 1)
      .forEach(({ key }) => store.removeItem(key));
  }

  private readonly _key: string;
  private readonly _store: () => Store;
  private readonly _seen = new Set<number>();
  private _isSaved = false;
}
