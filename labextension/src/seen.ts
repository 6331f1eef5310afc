/**
 * Which notices were shown already, over reloads and tabs. Pure but for the storage that it is given.
 *
 * A browser may refuse its storage or be out of quota; then the memory of this page has to do.
 */
import type { Level, Notice } from './wire';

const KEPT_MAX = 200;
const SHOWN_AT_ONCE_MAX = 3;
const LEVELS: Record<Level, number> = { error: 2, warning: 1, info: 0 };

export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export class SeenNotices {
  constructor(workspaceId: string, store: () => Store) {
    this._key = `jupyterhub-vessl-lab:${workspaceId}:seen`;
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
    if (fresh.length) {
      fresh.forEach(notice => this._seen.add(notice.id));
      this._save();
    }
    return [...fresh]
      .sort((a, b) => LEVELS[b.level] - LEVELS[a.level] || b.id - a.id)
      .slice(0, SHOWN_AT_ONCE_MAX)
      .sort((a, b) => a.id - b.id);
  }

  private _load(): void {
    try {
      const kept: unknown = JSON.parse(this._store().getItem(this._key) ?? '[]');
      if (Array.isArray(kept)) {
        kept.filter(id => Number.isInteger(id)).forEach(id => this._seen.add(id));
      }
    } catch {
      // no storage, or not ours: what this page remembers is enough
    }
  }

  private _save(): void {
    try {
      const ids = [...this._seen].sort((a, b) => a - b).slice(-KEPT_MAX);
      this._store().setItem(this._key, JSON.stringify(ids));
    } catch {
      // no storage, or no quota
    }
  }

  private readonly _key: string;
  private readonly _store: () => Store;
  private readonly _seen = new Set<number>();
}
