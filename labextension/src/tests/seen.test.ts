import assert from 'node:assert/strict';
import test from 'node:test';

import { SeenNotices, type Store } from '../seen';
import type { Notice } from '../wire';

const notice = (id: number, level: Notice['level'] = 'info'): Notice => ({ id, atMs: 0, level, message: `notice ${id}` });
const ids = (notices: Notice[]) => notices.map(item => item.id);

function memory(): Store & { kept: Map<string, string> } {
  const kept = new Map<string, string>();
  return {
    kept,
    getItem: key => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: key => void kept.delete(key),
    key: index => [...kept.keys()][index] ?? null,
    get length() {
      return kept.size;
    }
  };
}

test('each notice is told once, over reloads and tabs', () => {
  const store = memory();
  const [tab, other] = [new SeenNotices('w', () => store), new SeenNotices('w', () => store)];
  assert.deepEqual(ids(tab.take([notice(1), notice(2), notice(2)])), [1, 2]);
  assert.deepEqual(ids(tab.take([notice(1), notice(2)])), []);
  assert.deepEqual(ids(other.take([notice(2), notice(3)])), [3]);
  assert.deepEqual(ids(tab.take([notice(3)])), []);
  assert.deepEqual(ids(new SeenNotices('w', () => store).take([notice(1), notice(3)])), []);
});

test('another workspace has notices of its own', () => {
  const store = memory();
  new SeenNotices('w', () => store).take([notice(1)]);
  assert.deepEqual(ids(new SeenNotices('v', () => store).take([notice(1)])), [1]);
});

test('of many, the most urgent are told and the rest is not told later', () => {
  const seen = new SeenNotices('w', () => memory());
  const many = [notice(1, 'error'), ...[2, 3, 4, 5, 6].map(id => notice(id)), notice(7, 'warning')];
  assert.deepEqual(ids(seen.take(many)), [1, 6, 7]);
  assert.deepEqual(ids(seen.take(many)), []);
});

test('a browser without storage, full or with foreign values, still tells once a page', () => {
  const broken: (() => Store)[] = [
    () => {
      throw new Error('SecurityError');
    },
    () => ({
      ...memory(),
      setItem: () => {
        throw new Error('QuotaExceededError');
      }
    }),
    () => ({ ...memory(), getItem: () => '{"not": "ours"' }),
    () => ({ ...memory(), getItem: () => '{"a": 1}' }),
    () => ({ ...memory(), getItem: () => 'null' })
  ];
  for (const store of broken) {
    const seen = new SeenNotices('w', store);
    assert.deepEqual(ids(seen.take([notice(1)])), [1]);
    assert.deepEqual(ids(seen.take([notice(1)])), []);
  }
});

test('what is remembered does not grow for ever', () => {
  const store = memory();
  const seen = new SeenNotices('w', () => store);
  for (let id = 0; id < 1000; id++) {
    seen.take([notice(id)]);
  }
  assert.equal(JSON.parse([...store.kept.values()][0] ?? '').ids.length, 200);
});

test('workspaces of long ago are forgotten, and what is not ours stays', () => {
  const store = memory();
  store.setItem('theirs:seen', '1');
  store.setItem('jupyterhub-vessl-lab:other', '1');
  store.setItem('jupyterhub-vessl-lab:broken:seen', '{');
  store.setItem('jupyterhub-vessl-lab:list:seen', '[1]');
  let nowMs = 1000;
  for (let workspace = 0; workspace < 50; workspace++) {
    new SeenNotices(`w${workspace}`, () => store, () => nowMs++).take([notice(1)]);
    // looked at every time, so it is none of the old ones although it has no news
    new SeenNotices('daily', () => store, () => nowMs++).take([notice(1)]);
  }
  const left = [...store.kept.keys()];
  assert.equal(left.filter(key => key.startsWith('jupyterhub-vessl-lab:') && key.endsWith(':seen')).length, 20);
  for (const key of ['theirs:seen', ...['other', 'daily:seen', 'w49:seen'].map(end => `jupyterhub-vessl-lab:${end}`)]) {
    assert.ok(left.includes(key), key);
  }
  assert.ok(!left.includes('jupyterhub-vessl-lab:w0:seen'));
  assert.ok(!left.includes('jupyterhub-vessl-lab:broken:seen'));
});

test('what the first version kept is still known', () => {
  const store = memory();
  store.setItem('jupyterhub-vessl-lab:w:seen', '[1, 2]');
  assert.deepEqual(ids(new SeenNotices('w', () => store).take([notice(1), notice(3)])), [3]);
});
