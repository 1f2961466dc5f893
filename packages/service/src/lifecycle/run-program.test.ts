import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';

const PROGRAM = `
import { runProgram } from ${JSON.stringify(import.meta.resolve('./index.ts'))};
await runProgram(process, {
  service: 'model-host',
  version: '0.1.0',
  configEnv: 'ZL_NO_CONFIG',
  readConfig: () => ({ printable: '', log: { level: 'info' }, drain: { deadlineMs: 100 } }),
  checks: async () => ({}),
  start: async (_config, { announce, lifecycle, log }) => {
    const work = setInterval(() => {}, 1000);
    lifecycle.onDrain('work', async () => clearInterval(work));
    log.info({}, 'a line for the collector');
    announce({});
  },
});`;

test('[HOST-10] a collector that does not answer does not hold the exit past the drain deadline', {
  timeout: 60_000,
}, async (t) => {
  const collector = createServer((socket) => {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  t.after(() => collector.close());
  await once(collector, 'listening');
  const address = collector.address();
  assert.ok(typeof address === 'object' && address !== null);
  const hourMs = '3600000';
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${address.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_EXPORTER_OTLP_TIMEOUT: hourMs,
      OTEL_BLRP_EXPORT_TIMEOUT: hourMs,
      OTEL_TRACES_EXPORTER: 'none',
      OTEL_METRICS_EXPORTER: 'none',
    },
  });
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  let output = '';
  for await (const chunk of child.stdout) {
    output += String(chunk);
    if (!output.includes('"ready"')) continue;
    child.kill('SIGTERM');
    break;
  }
  assert.deepEqual(await exited, [0, null]);
});
