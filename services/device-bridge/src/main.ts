import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { runService } from '@zerolatency/lifecycle';
import { createLogger } from '@zerolatency/telemetry';
import { type BridgeConfig, CONFIG_FILE_ENV, loadBridgeConfig } from './config.ts';

const usage = `usage: device-bridge [--config <file>] [--set <setting>=<value> ...] [--print-config]`;

/** Node says at each start that its SQLite is young. We know, and every other warning is shown. */
function hideSqliteWarning(): void {
  const [show] = process.listeners('warning');
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.name === 'ExperimentalWarning' && /SQLite/.test(warning.message)) return;
    show?.call(process, warning);
  });
}

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
  return run(config);
}

async function run(config: BridgeConfig): Promise<number> {
  hideSqliteWarning();
  // Only now, since loading it loads SQLite.
  const { SERVICE, startBridge, VERSION } = await import('./app.ts');
  const log = createLogger({ service: SERVICE, level: config.log.level, version: VERSION });
  let isReadyTold = false;
  return runService({
    signals: process,
    deadlineMs: config.drainDeadlineMs,
    log,
    start: (lifecycle) =>
      startBridge(config, {
        lifecycle,
        log,
        env: process.env,
        onLive: (status) => {
          if (isReadyTold) return;
          isReadyTold = true;
          process.stdout.write(`${JSON.stringify({ event: 'ready', ...status })}\n`);
        },
      }),
  });
}

async function load(path: string | undefined, settings: readonly string[]): Promise<BridgeConfig> {
  const file = path === undefined ? {} : { file: { path, text: await readConfigFile(path) } };
  const flags = settings.map((setting) => {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
    if (name === undefined || value === undefined) throw new ZlError('config.invalid', usage);
    return [name, value] as const;
  });
  return loadBridgeConfig({ ...file, env: process.env, flags: Object.fromEntries(flags) });
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
