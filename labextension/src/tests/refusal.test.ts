import assert from 'node:assert/strict';
import test from 'node:test';

import { ApiError, asApiError, GoneError, readRefusal } from '../refusal';

const SENTENCES = { unreachable: 'unreachable', unclear: 'unclear', gone: 'It does not run any more.' };
const HUB = { message: 'JupyterHub server no longer running at /user/mia/. Restart the server at https://hub/hub/spawn' };

test('the hub’s answers for a workspace that does not run become one sentence', () => {
  for (const [status, answer] of [
    [424, HUB],
    [503, HUB],
    [503, null],
    [404, null],
    [404, { status: 404, message: 'Not Found' }],
    [424, '<html>']
  ] as const) {
    const error = readRefusal(answer, status, SENTENCES);
    assert.ok(error instanceof GoneError, String(status));
    assert.equal(error.sentence, SENTENCES.gone);
  }
});

test('the hub’s own text is never shown', () => {
  for (const status of [400, 403, 404, 405, 424, 500, 502, 503, 504]) {
    for (const answer of [HUB, { ...HUB, hint: 3, field: '' }, { ...HUB, hint: '' }, [HUB], 'text', null]) {
      assert.doesNotMatch(readRefusal(answer, status, SENTENCES).sentence, /JupyterHub|spawn/);
    }
  }
  assert.equal(readRefusal(HUB, 502, SENTENCES).sentence, SENTENCES.unclear);
});

test('the server extension’s own words are shown whole, whatever their status', () => {
  for (const status of [400, 403, 404, 503]) {
    const error = readRefusal({ message: 'Not so.', hint: 'Do this.', field: 'port' }, status, SENTENCES);
    assert.ok(!(error instanceof GoneError));
    assert.equal(error.sentence, 'Not so. Do this.');
    assert.equal(error.field, 'port');
  }
  assert.equal(readRefusal({ message: 'x'.repeat(1e6), hint: '', field: '' }, 400, SENTENCES).sentence.length, 600);
});

test('whatever is thrown can be shown', () => {
  const error = new ApiError('Not so.', 'Do this.');
  assert.equal(asApiError(error), error);
  assert.match(asApiError(new TypeError('odd')).sentence, /odd/);
});
