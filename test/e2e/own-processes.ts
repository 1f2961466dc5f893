import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import type { Service } from '../../services/cli/src/installation/processes.ts';
import { type Lifetime, mainOf } from './system.ts';

export interface OwnProcess {
  readonly child: ChildProcess;
  /** Everything it has printed. */
  readonly said: () => string;
  readonly ready: Promise<void>;
  /** Its status, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** Starts a service as a child of the test, so that its exit status is known. */
export function spawnService(t: Lifetime, layout: Layout, service: Service): OwnProcess {
  const { config } = {
    registrar: layout.registrar,
    'tool-relay': layout.relay,
    'model-host': layout.host,
    'device-bridge': layout.device,
  }[service];
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', mainOf(service), '--config', config],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  const ready = Promise.withResolvers<void>();
  child.stdout.on('data', (chunk) => {
    said += chunk;
    if (said.includes('{"event":"ready"')) ready.resolve();
  });
  // Its last lines may arrive after its exit.
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  return { child, said: () => said, ready: ready.promise, ended };
}
