import { once } from 'node:events';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fromLocal } from '@zerolatency/errors';

/** By setting: what a start would do with it, and nothing that lasts. Rejects where that fails. */
export type ConfigChecks = Readonly<Record<string, () => unknown>>;

/** Runs all of them. Returns the exit code. */
export async function runConfigChecks(
  checks: ConfigChecks,
  output: { write(text: string): unknown },
): Promise<number> {
  let exitCode = 0;
  for (const [setting, check] of Object.entries(checks)) {
    try {
      await check();
      output.write(`ok      ${setting}\n`);
    } catch (reason) {
      const { id, message, help } = fromLocal(reason);
      output.write(`failed  ${setting}: ${id}: ${message}\n        ${help}\n`);
      exitCode = 1;
    }
  }
  return exitCode;
}

/** Rejects unless a listener can open there now. */
export async function expectFreePort({ host, port }: { host?: string; port: number }) {
  const server = createServer().listen(port, host);
  await once(server, 'listening');
  await new Promise((resolve) => server.close(resolve));
}

/** Rejects unless the folder can be written. One that is missing is made at the start. */
export async function expectWritable(folder: string): Promise<void> {
  await access(folder, constants.R_OK | constants.W_OK).catch((reason: NodeJS.ErrnoException) => {
    if (reason.code !== 'ENOENT') throw reason;
  });
}
