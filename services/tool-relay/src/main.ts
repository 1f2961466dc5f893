import { readCommandLine } from '@zerolatency/service/config';
import { runMain, runService } from '@zerolatency/service/lifecycle';
import { createLogger, createRegistry } from '@zerolatency/service/telemetry';
import { SERVICE, startRelay, VERSION } from './app.ts';
import { CONFIG_FILE_ENV, readRelayConfig } from './config.ts';
import { maskedSecrets } from './metrics.ts';

/**
 * uWebSockets.js reads it once, when it is loaded, and would refuse more than
 * 4 KiB: a host's token carries its certificate chain.
 */
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(16 * 1024);

async function main(): Promise<number> {
  const { env, stdout } = process;
  const { sources, printConfig } = await readCommandLine(process.argv.slice(2), {
    program: SERVICE,
    configEnv: CONFIG_FILE_ENV,
    env,
  });
  const config = readRelayConfig(sources);
  if (printConfig) {
    stdout.write(config.printable);
    return 0;
  }
  const registry = createRegistry({ service: SERVICE, version: VERSION });
  const log = createLogger({
    service: SERVICE,
    level: config.logLevel,
    version: VERSION,
    onMasked: maskedSecrets(registry),
  });
  return runService({
    signals: process,
    deadlineMs: config.drain.deadlineMs,
    log,
    start: async (lifecycle) => {
      const addresses = await startRelay(config, { lifecycle, log, registry });
      lifecycle.onChange((state) => {
        if (state !== 'ready') return;
        stdout.write(`${JSON.stringify({ event: 'ready', ...addresses })}\n`);
      });
    },
  });
}

await runMain(process, main);
