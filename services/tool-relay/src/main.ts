import { runProgram } from '@zerolatency/service/lifecycle';
import manifest from '../package.json' with { type: 'json' };
import { CONFIG_FILE_ENV, readProgramConfig } from './config.ts';

// uWebSockets.js reads it once, when it is loaded. Its default of 4 KiB is too little for a host's
// token, which carries a certificate chain.
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(16 * 1024);

const machine = {
  availableBytes: process.availableMemory(),
  maxDescriptors: descriptorLimitOf(process.report.getReport()),
};

await runProgram(process, {
  service: 'tool-relay',
  nameOf: ({ role }) => (role === 'registrar' ? 'registrar' : 'tool-relay'),
  version: manifest.version,
  configEnv: CONFIG_FILE_ENV,
  readConfig: readProgramConfig,
  async checks(config, env) {
    const { checksOfRegistrar, checksOfRelay } = await import('./app/config-checks.ts');
    return config.role === 'relay' ? checksOfRelay(config, env) : checksOfRegistrar(config, env);
  },
  async start(config, deps) {
    if (config.role === 'registrar') {
      const { startRegistrar } = await import('./app/start-registrar.ts');
      deps.announce(await startRegistrar(config, deps));
      return;
    }
    const { startRelay } = await import('./app.ts');
    deps.announce(await startRelay(config, { ...deps, machine }));
  },
});

/** Windows has no such limit. */
function descriptorLimitOf(report: object): number {
  const { open_files: files } = Reflect.get(report, 'userLimits') ?? {};
  return typeof files?.soft === 'number' ? files.soft : Number.POSITIVE_INFINITY;
}
