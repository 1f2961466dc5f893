import { existsSync } from 'node:fs';
import { decodeJwt } from 'jose';
import { createInvitation } from '../connection/registrar.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { isPastHalf } from './certificates.ts';
import type { Layout } from './layout.ts';
import { LOCAL } from './local.ts';
import { runCommand } from './processes.ts';
import { readOwn } from './read-own.ts';
import { startFailure } from './start-failure.ts';

/** Whether the local device has no credential, or one that has lived half its life. */
export async function needsEnrolment({ device }: Layout, nowMs = Date.now()): Promise<boolean> {
  if (!existsSync(device.credential)) return true;
  const { iat = 0, exp = 0 } = await readOwn(device.credential, 'credential', decodeJwt);
  return isPastHalf({ fromMs: iat * 1000, untilMs: exp * 1000 }, nowMs);
}

/** Enrols the local device as any other: by a one-time code, with the command of its bridge. */
export async function enrolDevice(
  terminal: Terminal,
  layout: Layout,
  settings: Settings,
): Promise<void> {
  const { deviceId } = LOCAL;
  const { code, enrolUrl } = await createInvitation(settings, { deviceId });
  const { status, said } = await runCommand(terminal, 'device-bridge', [
    ...['enrol', code, '--registrar', enrolUrl, '--ca', layout.authority.cert],
    // The credential that is there has lived half its life.
    ...['--config', layout.device.config, '--force'],
  ]);
  if (status !== 0) throw startFailure('device-bridge', said);
}
