import { ZlError } from '@zerolatency/errors';
import {
  createEnrolmentCode,
  type DeviceIdentity,
  enrolmentCodeHash,
  parseEnrolmentCode,
} from '@zerolatency/identity';
import type { Clock, Log } from '../ports.ts';
import { CODE_LIMITS, type CodeStore } from './code-store.ts';

/** Long enough to walk to another machine. */
export const MAX_CODE_LIFETIME_MS = 15 * 60_000;

export interface InvitationsDeps {
  readonly codes: CodeStore;
  readonly clock: Pick<Clock, 'unixMs'>;
  /** Later than any revocation of the device. */
  readonly issueMs: (device: DeviceIdentity) => Promise<number>;
  readonly log: Log;
  readonly onCreated: () => void;
}

interface Wanted {
  readonly tenant: string;
  /** Empty: the device proposes a name. */
  readonly deviceId: string;
  readonly lifetimeMs: number;
  /** Name in the client certificate. */
  readonly operator: string;
}

/** Makes one-time codes, of which only the hash is kept. */
export class Invitations {
  readonly #deps: InvitationsDeps;

  constructor(deps: InvitationsDeps) {
    this.#deps = deps;
  }

  async create({ tenant, deviceId, lifetimeMs, operator }: Wanted) {
    const { codes, clock, issueMs, log, onCreated } = this.#deps;
    const code = createEnrolmentCode();
    const codeHash = enrolmentCodeHash(parseEnrolmentCode(code).value ?? code);
    const expiresAtMs = clock.unixMs() + lifetimeMs;
    const issuedAtMs = await issueMs({ tenant, deviceId });
    const added = await codes.add(codeHash, { tenant, deviceId, issuedAtMs, expiresAtMs });
    if (added !== 'added') {
      const { tenant: ofTenant, all } = CODE_LIMITS;
      const count = added === 'tenant is full' ? `${ofTenant} codes of ${tenant}` : `${all} codes`;
      const why = `${count} are open; wait until some are used or have expired`;
      throw new ZlError('limit.exceeded', why);
    }
    onCreated();
    log.info({ operator, tenant, deviceId, codeId: codeIdOf(codeHash), expiresAtMs }, 'code made');
    return { code, expiresAtMs };
  }
}

/** Finds the lines of one code in a log; it says nothing about the code. */
export function codeIdOf(codeHash: string): string {
  return codeHash.slice(0, 8);
}
