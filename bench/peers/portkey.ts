import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, freePort } from '@zerolatency/testing';
import { lifetime } from '../lifetime.ts';
import { processFigures } from '../relay/program.ts';

export const PACKAGE = '@portkey-ai/gateway@1.15.2';
const PROGRAM = join(import.meta.dirname, 'node_modules/@portkey-ai/gateway/build/start-server.js');

export const isInstalled = existsSync(PROGRAM);

/** The gateway as its package starts it, on loopback without TLS. */
export async function startPortkey() {
  const port = await freePort();
  const args = [PROGRAM, `--port=${port}`, '--headless'];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  lifetime.after(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const url = `http://127.0.0.1:${port}`;
  const isUp = () =>
    fetch(url).then(
      () => true,
      () => false,
    );
  await eventually(isUp, { timeoutMs: 30_000, everyMs: 50 });
  return { url, ...processFigures(child.pid ?? 0) };
}
