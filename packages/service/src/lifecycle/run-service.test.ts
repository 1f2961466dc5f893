import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { Lifecycle } from './lifecycle.ts';
import { runService } from './run-service.ts';

const ENDLESS_MS = 1_000_000;

function harness() {
  const signals = new EventEmitter();
  const lines: string[] = [];
  const log = {
    info: (_fields: object, message: string) => void lines.push(message),
    error: (_fields: object, message: string) => void lines.push(`error: ${message}`),
  };
  const lifecycle = new Lifecycle({ forceGraceMs: 2 });
  return { signals, lines, log, lifecycle, deadlineMs: ENDLESS_MS };
}

function reached(lifecycle: Lifecycle, state: string): Promise<void> {
  return new Promise((resolve) => {
    if (lifecycle.state === state) resolve();
    lifecycle.onChange((now) => now === state && resolve());
  });
}

test('[HOST-10] SIGTERM drains a ready service, which then exits with 0', async () => {
  const { signals, ...rest } = harness();
  const drained: string[] = [];
  const code = runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      lifecycle.onDrain('work', async () => void drained.push('work'));
    },
  });
  await reached(rest.lifecycle, 'ready');
  signals.emit('SIGTERM');
  assert.equal(await code, 0);
  assert.deepEqual(drained, ['work']);
  assert.deepEqual(signals.eventNames(), []);
});

test('[HOST-10] a second signal forces the end', async () => {
  const { signals, ...rest } = harness();
  const code = runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      lifecycle.onDrain('stubborn', async (deadline) => {
        signals.emit('SIGINT');
        assert.equal(deadline.aborted, true);
      });
    },
  });
  await reached(rest.lifecycle, 'ready');
  signals.emit('SIGTERM');
  assert.equal(await code, 0);
});

test('a start that fails drains what it had opened and exits with 1', async () => {
  const { signals, lines, ...rest } = harness();
  const drained: string[] = [];
  const code = await runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      lifecycle.onDrain('half', async () => void drained.push('half'));
      throw new Error('port taken');
    },
  });
  assert.equal(code, 1);
  assert.equal(rest.lifecycle.state, 'failed');
  assert.deepEqual(drained, ['half']);
  assert.deepEqual(lines, ['error: start failed: port taken']);
});

test('asked to stop while it starts, a service waits for the start and drains what it opened', async () => {
  const { signals, ...rest } = harness();
  const opened = Promise.withResolvers<void>();
  const drained: string[] = [];
  const code = runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      await opened.promise;
      lifecycle.onDrain('late', async () => void drained.push('late'));
    },
  });
  signals.emit('SIGTERM');
  opened.resolve();
  assert.equal(await code, 0);
  assert.deepEqual(drained, ['late']);
});

test('[HOST-10] asked to stop while it starts, a service closes nothing that the start still uses', async () => {
  const { signals, ...rest } = harness();
  const opened = Promise.withResolvers<void>();
  const order: string[] = [];
  const code = runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      lifecycle.onDrain('early', async () => void order.push('early closed'));
      await opened.promise;
      order.push('early used');
      lifecycle.onDrain('late', async () => void order.push('late closed'));
    },
  });
  signals.emit('SIGTERM');
  setImmediate(opened.resolve);
  assert.equal(await code, 0);
  assert.deepEqual(order, ['early used', 'late closed', 'early closed']);
});

test('[HOST-10] a stated order does not close what a start under way still uses', async () => {
  const { signals, ...rest } = harness();
  const opened = Promise.withResolvers<void>();
  const order: string[] = [];
  const code = runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      lifecycle.drainOrder(['early', 'late']);
      lifecycle.onDrain('early', async () => void order.push('early closed'));
      await opened.promise;
      order.push('early used');
      lifecycle.onDrain('late', async () => void order.push('late closed'));
    },
  });
  signals.emit('SIGTERM');
  setImmediate(opened.resolve);
  assert.equal(await code, 0);
  assert.deepEqual(order, ['early used', 'early closed', 'late closed']);
});

test('[HOST-10] a start that hangs is not waited for once somebody insists', async () => {
  const { signals, ...rest } = harness();
  const hung = Promise.withResolvers<void>();
  const code = runService({
    ...rest,
    signals,
    start: async (lifecycle) => {
      // What it waits for fails when it is closed.
      lifecycle.onDrain('peer', async () => hung.reject(new Error('closed')));
      await hung.promise;
    },
  });
  signals.emit('SIGTERM');
  signals.emit('SIGTERM');
  assert.equal(await code, 0);
  assert.ok(rest.lines.includes('start given up'));
});

test('an uncaught error drains the service, which then exits with 1', async () => {
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    const { signals, ...rest } = harness();
    const code = runService({ ...rest, signals, start: async () => {} });
    await reached(rest.lifecycle, 'ready');
    signals.emit(event, new Error('defect'));
    assert.equal(await code, 1);
  }
});

test('a hook that fails or hangs makes the exit code 1', async () => {
  const { signals, lines, log } = harness();
  const code = runService({
    signals,
    log,
    deadlineMs: ENDLESS_MS,
    start: async (lifecycle) => {
      lifecycle.onDrain('bad', () => Promise.reject(new Error('disk full')));
      queueMicrotask(() => signals.emit('SIGTERM'));
    },
  });
  assert.equal(await code, 1);
  assert.ok(lines.includes('error: drain hook failed'));
});

test('[HOST-10] a real process drains on SIGTERM and exits with 0', async () => {
  const source = `
    import { runService } from '${import.meta.resolve('./run-service.ts')}';
    const timer = setInterval(() => {}, 1000);
    const log = { info() {}, error() {} };
    process.exitCode = await runService({
      signals: process, deadlineMs: 60_000, log,
      start: async (lifecycle) => {
        lifecycle.onDrain('timer', async () => { clearInterval(timer); console.log('drained'); });
        lifecycle.onChange((state) => console.log(state));
      },
    });`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output === 'ready\n') child.kill('SIGTERM');
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
  assert.equal(output, 'ready\ndraining\ndrained\nstopped\n');
});
