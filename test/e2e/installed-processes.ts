import { readdirSync, readFileSync } from 'node:fs';
import { platform } from 'node:os';

/** The processes of an installation: those whose command line names its folder, without those that make sandboxes. */
export function processesOf(home: string): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry);
    const command = Number.isInteger(pid) && pid !== process.pid ? commandLine(pid) : '';
    return command.includes(home) && !/^\S*bwrap /.test(command) ? pid : [];
  });
}

/** Empty for one that has ended, also where its parent has not asked for its status yet. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** They are in sessions of their own, and whoever interrupts the tests lets no hook run. */
export function stopWithTests(home: string): void {
  if (platform() !== 'linux') return;
  process.once('exit', () => {
    for (const pid of processesOf(home)) stop(pid);
  });
  // They would end it without an exit; and where they come twice, before that is through.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
}

function stop(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // It ended by itself, between the look and the signal.
  }
}
