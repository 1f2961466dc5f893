import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import type { ToolResult } from '../../src/ports.ts';
import { readArguments } from '../../src/turn/tool-step.ts';
import { readTool } from './offered-tools.ts';
import { never, SCOPE, toolWorld } from './tool-world.ts';

// Prints what a call costs this host; run it by itself: node --test --test-reporter=spec test/relay/measure-calls.ts
const WARM_CALLS = 500;
const CALLS = 2000;

/** Records when the frame of a call reaches its socket. */
function watchSends(t: TestContext): { lastMs: number } {
  const watch = { lastMs: 0 };
  const original = WebSocket.prototype.send;
  t.mock.method(WebSocket.prototype, 'send', function (this: WebSocket, ...args: [Buffer]) {
    // A client's link; the fake relay's own sockets have no url.
    if (this.url !== '' && watch.lastMs === 0) watch.lastMs = performance.now();
    return Reflect.apply(original, this, args);
  });
  return watch;
}

function print(name: string, values: readonly number[]): void {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.floor(q * (sorted.length - 1))]?.toFixed(1);
  console.log(`${name.padEnd(44)} p50 ${at(0.5)} us  p95 ${at(0.95)} us  p99 ${at(0.99)} us`);
}

test('what a call costs', async (t) => {
  const world = await toolWorld(t, { tools: [readTool()], limits: { callsPerTurn: 1_000_000 } });
  const sends = watchSends(t);
  const prepareUs: number[] = [];
  const sendUs: number[] = [];
  const results: ToolResult[] = [];
  for (let n = 0; n < WARM_CALLS + CALLS; n += 1) {
    if (n === WARM_CALLS) for (const list of [prepareUs, sendUs, results]) list.length = 0;
    const toolbox = await world.toolboxes.open(SCOPE, never);
    const beforeMs = performance.now();
    const call = toolbox.prepare('fs.read', readArguments('{"path":"/home/user/welcome.txt"}'));
    const runMs = performance.now();
    sends.lastMs = 0;
    const running = call.run({ signal: never });
    prepareUs.push((runMs - beforeMs) * 1000);
    sendUs.push((sends.lastMs - runMs) * 1000);
    results.push(await running);
  }
  print('prepare()', prepareUs);
  print('run() until the frame is with the socket', sendUs);
  print(
    'frame sent until outcome (remote)',
    results.map((result) => result.remoteUs),
  );
  print(
    'run() until told, without remote',
    results.map((result) => result.totalUs - result.remoteUs),
  );
  print(
    'run() until told',
    results.map((result) => result.totalUs),
  );
});
