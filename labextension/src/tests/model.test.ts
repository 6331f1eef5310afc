import assert from 'node:assert/strict';
import test, { mock, type TestContext } from 'node:test';

import { page } from './page';

import { WorkspaceModel } from '../model';
import { ApiError, GoneError } from '../refusal';
import { readStatus, type Status } from '../wire';

const START_MS = Date.parse('2026-11-22T00:00:00Z');

function status(title: string, atMs: number, more: { state?: string; problem?: string } = {}): Status {
  const workspace = { title, state: more.state ?? 'running' };
  const read = readStatus({ at_ms: atMs, problem: more.problem, service: { workspace, at_ms: atMs } });
  assert.ok(read);
  return read;
}

/** A server whose next answer is set; it counts the questions. */
class Server {
  answer: Status | Error = status('first', START_MS);
  put: Promise<Status> = Promise.resolve(status('first', START_MS));
  asked = 0;

  async status(): Promise<Status> {
    this.asked++;
    if (this.answer instanceof Error) {
      throw this.answer;
    }
    return this.answer;
  }

  async pause(): Promise<void> {}
  putPort = () => this.put;
  deletePort = () => this.put;
  keepRunning = () => this.put;
}

const settled = () => new Promise(done => setImmediate(done));

/** Let time pass in steps, so that what waits for answers goes on in between. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    mock.timers.tick(1000);
    await settled();
  }
}

async function begun(context: TestContext): Promise<{ server: Server; model: WorkspaceModel }> {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START_MS });
  context.after(() => mock.timers.reset());
  const server = new Server();
  const model = new WorkspaceModel(server);
  assert.equal(server.asked, 0);
  model.start();
  await pass(3);
  assert.equal(model.status?.service?.title, 'first');
  return { server, model };
}

const choice = { type: 'http', port: 3000, path: 'stripped' } as const;

test('a tab that paused asks once a minute, and shows it when somebody has resumed', async context => {
  const { server, model } = await begun(context);
  await model.pause();
  assert.equal(model.state, 'paused');
  const { asked } = server;
  server.answer = new GoneError('gone');
  page.isLookedAt();
  await pass(55);
  assert.equal(server.asked, asked, 'looking at the page asks nothing before its time');
  await pass(120);
  assert.equal(server.asked, asked + 2);
  assert.deepEqual([model.state, model.problem], ['paused', ''], 'that it does not answer is no news');
  server.answer = status('resumed', START_MS + 180_000);
  await pass(60);
  assert.deepEqual([model.isPaused, model.state, model.status?.service?.title], [false, 'running', 'resumed']);
  const before = server.asked;
  await pass(31);
  assert.equal(server.asked, before + 2, 'and from then on it asks as usual');
});

test('coming back to a tab that was paused long ago asks at once', async context => {
  const { server, model } = await begun(context);
  await model.pause();
  page.hidden = true;
  context.after(() => (page.hidden = false));
  await pass(300);
  const { asked } = server;
  page.hidden = false;
  page.isLookedAt();
  await pass(2);
  assert.equal(server.asked, asked + 1);
});

test('what a stopping workspace still says does not take back the pause', async context => {
  const { server, model } = await begun(context);
  await model.pause();
  for (const answer of [
    status('stops', START_MS + 1000, { state: 'paused' }),
    status('old', START_MS, { problem: 'The service does not answer.' })
  ]) {
    server.answer = answer;
    await model.refresh();
    assert.equal(model.isPaused, true);
  }
});

test('an answer that was on its way when the person paused changes nothing', async context => {
  const { server, model } = await begun(context);
  let answer = (_: Status) => {};
  context.mock.method(server, 'status', () => new Promise<Status>(done => (answer = done)));
  const asking = model.refresh();
  await model.pause();
  answer(status('late', START_MS));
  await asking;
  assert.equal(model.state, 'paused');
});

test('a workspace that somebody else stopped is shown as such until it answers again', async context => {
  const { server, model } = await begun(context);
  server.answer = new GoneError('It does not run any more.');
  await model.refresh();
  assert.deepEqual([model.isGone, model.isStopped, model.state], [true, true, 'stopped']);
  assert.equal(model.problem, 'It does not run any more.');
  server.answer = status('again', START_MS + 5000);
  await model.refresh();
  assert.deepEqual([model.isGone, model.state, model.problem], [false, 'running', '']);
});

test('an action that finds the workspace gone tells so everywhere', async context => {
  const { server, model } = await begun(context);
  server.put = Promise.reject(new GoneError('gone'));
  await assert.rejects(model.putPort('web', choice), GoneError);
  assert.equal(model.isGone, true);
});

test('a failure is told with what to do about it', async context => {
  const { server, model } = await begun(context);
  server.answer = new ApiError('This is not allowed.', 'Load the page again.');
  await model.refresh();
  assert.equal(model.problem, 'This is not allowed. Load the page again.');
  assert.equal(model.isGone, false);
});

test('a late answer of an action does not replace a newer status', async context => {
  const { server, model } = await begun(context);
  let answer = (_: Status) => {};
  server.put = new Promise(done => (answer = done));
  const putting = model.putPort('web', choice);
  server.answer = status('newer', START_MS + 2000);
  await model.refresh();
  answer(status('late', START_MS + 1000));
  await putting;
  assert.equal(model.status?.service?.title, 'newer');
});

test('after a clock was set back, answers that follow each other count', async context => {
  const { server, model } = await begun(context);
  server.put = Promise.resolve(status('put', START_MS - 3_600_000));
  await model.putPort('web', choice);
  assert.equal(model.status?.service?.title, 'put');
});
