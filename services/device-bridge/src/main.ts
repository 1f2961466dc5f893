import { runProgram } from '@zerolatency/service/lifecycle';
import manifest from '../package.json' with { type: 'json' };
import { closeInheritedDescriptors } from './adapters/processes/inherited-descriptors.ts';
import { CONFIG_FILE_ENV, readBridgeConfig } from './config.ts';

closeInheritedDescriptors(process.env);
await runProgram(process, {
  service: 'device-bridge',
  version: manifest.version,
  configEnv: CONFIG_FILE_ENV,
  readConfig: readBridgeConfig,
  commands: {
    async enrol(args, { stdout, env }) {
      const { enrol } = await import('./app/enrol.ts');
      return enrol(args, stdout, env);
    },
  },
  async checks(config) {
    const { checksOfBridge } = await import('./app/config-checks.ts');
    return checksOfBridge(config);
  },
  async start(config, deps) {
    const { startBridge } = await import('./app.ts');
    await startBridge(config, { ...deps, onLive: deps.announce });
  },
});
