import { readCommandLine } from '@zerolatency/service/config';
import { runMain, runService } from '@zerolatency/service/lifecycle';
import { createLogger } from '@zerolatency/service/telemetry';
import { type BridgeConfig, CONFIG_FILE_ENV, readBridgeConfig } from './config.ts';
import { BridgeMetrics } from './metrics.ts';

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
  const { sources, printConfig } = await readCommandLine(process.argv.slice(2), {
    program: 'device-bridge',
    configEnv: CONFIG_FILE_ENV,
    env: process.env,
  });
  const config = readBridgeConfig(sources);
  if (!printConfig) return run(config);
  process.stdout.write(config.printable);
  return 0;
}

async function run(config: BridgeConfig): Promise<number> {
  hideSqliteWarning();
  // Only now, since loading it loads SQLite.
  const { SERVICE, startBridge, VERSION } = await import('./app.ts');
  const metrics = new BridgeMetrics();
  const log = createLogger({
    service: SERVICE,
    level: config.log.level,
    version: VERSION,
    onMasked: (detector) => metrics.masked(detector),
  });
  let isReadyTold = false;
  return runService({
    signals: process,
    deadlineMs: config.drainDeadlineMs,
    log,
    start: (lifecycle) =>
      startBridge(config, {
        lifecycle,
        log,
        metrics,
        env: process.env,
        onLive: (status) => {
          if (isReadyTold) return;
          isReadyTold = true;
          process.stdout.write(`${JSON.stringify({ event: 'ready', ...status })}\n`);
        },
      }),
  });
}

await runMain(process, main);
