import { readToken } from '../chat/token.ts';
import type { Settings } from '../settings.ts';
import { exitStatus, print, type Terminal } from '../terminal.ts';

/** For other clients of the same host: curl, grpcurl, one's own program. */
export async function token(terminal: Terminal, { identity }: Settings): Promise<number> {
  print(terminal, await readToken(identity));
  return exitStatus.ok;
}
