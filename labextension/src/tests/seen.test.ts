import assert from 'node:assert/strict';
import test from 'node:test';

import { SeenNotices, type Store } from '../seen';
import type { Notice } from '../wire';

const notice = (id: number, level: Notice['level'] = 'info'): Notice => ({ id, level, message: `notice ${id}` });
const ids = (notices: Notice[]) => notices.map(item => item.id);

function memory(): Store & { kept: Map<string, string> } {
  const kept = new Map<string, string>();
  return { kept, getItem: key => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
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
      getItem: () => null,
      setItem: () => {
        throw new Error('QuotaExceededError');
      }
    }),
    () => ({ getItem: () => '{"not": "ours"', setItem: () => undefined }),
    () => ({ getItem: () => '{"a": 1}', setItem: () => undefined })
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
  assert.equal(JSON.parse([...store.kept.values()][0] ?? '').length, 200);
});
