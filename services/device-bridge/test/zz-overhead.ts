import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startStdioServer } from '@zerolatency/mcp';
import { makeRig } from './bridge-rig.ts';
import { fsSpec } from './manifests.ts';

test('overhead', async (t) => {
  const rig = await makeRig(t, {
    servers: (root) => [fsSpec(root)],
    rules: [{ id: 'all', effect: 'allow', tools: ['fs.*'] }],
  });
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const sets = Object.entries(rig.settings).flatMap(([n, v]) => [
    '--set',
    `${n}=${Array.isArray(v) ? JSON.stringify(v) : v}`,
  ]);
  const prof = process.env.PROF ? ['--cpu-prof', '--cpu-prof-dir=/tmp/bb'] : [];
  const child = spawn(process.execPath, [...prof, main, ...sets, '--set', 'log.level=warn'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => {
    child.kill('SIGTERM');
    return new Promise((r) => child.once('exit', r));
  });
  createInterface({ input: child.stdout! });
  await rig.relay.offering('fs.read');
  const spec = fsSpec(rig.root);
  const direct = await startStdioServer({
    ...spec,
    env: spec.env.set,
    client: { name: 'b', version: '0' },
  });
  t.after(() => direct.close());
  const pct = (xs: number[]) => {
    xs.sort((a, b) => a - b);
    return `p50 ${xs[xs.length >> 1]!.toFixed(3)} p99 ${xs[Math.floor(xs.length * 0.99)]!.toFixed(3)}`;
  };
  const N = 2000;
  for (let round = 0; round < 4; round++) {
    const a: number[] = [],
      b: number[] = [],
      dev: number[] = [],
      srv: number[] = [];
    for (let i = 0; i < N; i++) {
      const s = performance.now();
      await direct.call(
        'tools/call',
        { name: 'read', arguments: { path: 'hello.txt' } },
        { timeoutMs: 5000 },
      );
      a.push(performance.now() - s);
    }
    for (let i = 0; i < N; i++) {
      const s = performance.now();
      const r = await rig.host.call({ args: { path: 'hello.txt' } });
      b.push(performance.now() - s);
      dev.push(r.deviceUs / 1000);
      srv.push(r.serverUs / 1000);
      if (r.status !== 'done') throw r.error;
    }
    console.log(
      `direct ${pct(a)} | through bridge ${pct(b)} | device ${pct(dev)} | server ${pct(srv)}`,
    );
  }
});
