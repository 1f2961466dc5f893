import { runProgram } from '@zerolatency/service/lifecycle';
import manifest from '../package.json' with { type: 'json' };
import { CONFIG_FILE_ENV, readHostConfig } from './config.ts';

await runProgram(process, {
  service: 'model-host',
  version: manifest.version,
  configEnv: CONFIG_FILE_ENV,
  readConfig: readHostConfig,
  async checks(config, env) {
    const { checksOfHost } = await import('./app/config-checks.ts');
    return checksOfHost(config, env);
  },
  async start(config, deps) {
    const { startHost } = await import('./app.ts');
    deps.announce(await startHost(config, deps));
  },
});
