import { readCommandLine } from '@zerolatency/service/config';
import { runMain, runService } from '@zerolatency/service/lifecycle';
import { createLogger, createRegistry } from '@zerolatency/service/telemetry';
import { SERVICE, startHost, VERSION } from './app.ts';
import { CONFIG_FILE_ENV, readHostConfig } from './config.ts';
import { maskedSecrets } from './metrics.ts';

async function main(): Promise<number> {
  const { env, stdout } = process;
  const { sources, printConfig } = await readCommandLine(process.argv.slice(2), {
    program: SERVICE,
    configEnv: CONFIG_FILE_ENV,
    env,
  });
  const config = readHostConfig(sources);
  if (printConfig) {
    stdout.write(config.printable);
    return 0;
  }
  const registry = createRegistry({ service: SERVICE, version: VERSION });
  const log = createLogger({
    service: SERVICE,
    level: config.log.level,
    version: VERSION,
    onMasked: maskedSecrets(registry),
  });
  return runService({
    signals: process,
    deadlineMs: config.drainDeadlineMs,
    log,
    start: async (lifecycle) => {
      const addresses = await startHost(config, { lifecycle, log, registry, env });
      lifecycle.onChange((state) => {
        if (state !== 'ready') return;
        stdout.write(`${JSON.stringify({ event: 'ready', ...addresses })}\n`);
      });
    },
  });
}

await runMain(process, main);
