import { runProgram } from '@zerolatency/service/lifecycle';
import manifest from '../package.json' with { type: 'json' };
import { CONFIG_FILE_ENV, readRelayConfig } from './config.ts';

// uWebSockets.js reads it once, when it is loaded. Its default of 4 KiB is too little for a host's
// token, which carries a certificate chain.
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(16 * 1024);

await runProgram(process, {
  service: 'tool-relay',
  version: manifest.version,
  configEnv: CONFIG_FILE_ENV,
  readConfig: readRelayConfig,
  async start(config, deps) {
    const { startRelay } = await import('./app.ts');
    deps.announce(await startRelay(config, deps));
  },
});
