import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { runService } from '@zerolatency/lifecycle';
import { createLogger } from '@zerolatency/telemetry';
import { SERVICE, startRelay, VERSION } from './app.ts';
import { CONFIG_FILE_ENV, type RelayConfig, readRelayConfig } from './config.ts';

/**
 * uWebSockets.js reads it once, when it is loaded, and would refuse more than
 * 4 KiB: a host's token carries its certificate chain.
 */
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(16 * 1024);

const usage = `usage: tool-relay [--config <file>] [--set <setting>=<value> ...] [--print-config]`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      config: { type: 'string' },
      set: { type: 'string', multiple: true, default: [] },
      'print-config': { type: 'boolean', default: false },
    },
  });
  const config = await load(values.config ?? process.env[CONFIG_FILE_ENV], values.set);
  if (values['print-config']) {
    process.stdout.write(config.printable);
    return 0;
  }
  const log = createLogger({ service: SERVICE, level: config.logLevel, version: VERSION });
  return runService({
    signals: process,
    deadlineMs: config.drain.deadlineMs,
    log,
    start: async (lifecycle) => {
      const addresses = await startRelay(config, { lifecycle, log });
      lifecycle.onChange((state) => {
        if (state !== 'ready') return;
        process.stdout.write(`${JSON.stringify({ event: 'ready', ...addresses })}\n`);
      });
    },
  });
}

async function load(path: string | undefined, settings: readonly string[]): Promise<RelayConfig> {
  const file = path === undefined ? {} : { file: { path, text: await readConfigFile(path) } };
  const flags = settings.map((setting) => {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
    if (name === undefined || value === undefined) throw new ZlError('config.invalid', usage);
    return [name, value] as const;
  });
  return readRelayConfig({ ...file, env: process.env, flags: Object.fromEntries(flags) });
}

async function readConfigFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ZlError('config.invalid', `the configuration ${path} cannot be read`, { cause });
  }
}

try {
  process.exitCode = await main();
} catch (reason) {
  // Before there is a log: for the person who typed the command.
  const { id, message, help } = reason instanceof ZlError ? reason : fromUnknown(reason);
  process.stderr.write(`${id}: ${message}\n${help}\n`);
  process.exitCode = 1;
}
