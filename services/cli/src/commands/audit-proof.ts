import { ZlError } from '@zerolatency/errors';
import {
  checkConsistency,
  checkInclusion,
  type LedgerSource,
  type ProofVerdict,
  parseProof,
  proveConsistency,
  proveInclusion,
  recordLeafHash,
  verifyCheckpoint,
} from '@zerolatency/ledger';
import { foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import { readVerifiers } from '../audit/verify-receipt.ts';
import { readText } from '../input.ts';
import { EXIT_STATUS, print, type Terminal } from '../terminal.ts';

const AUDIT_ID = /^[0-9a-f]{64}$/;

/** What is proved: a record of the tree, or that the tree continues an earlier checkpoint. */
interface Claim {
  readonly record?: string;
  readonly since?: string;
}

export async function auditProve(
  terminal: Terminal,
  ledger: string | LedgerSource,
  { record, since, checkpoint }: Claim & { readonly checkpoint?: string },
): Promise<number> {
  const kept = checkpoint === undefined ? undefined : await readText(checkpoint);
  if (since !== undefined && record === undefined) {
    print(terminal, (await proveConsistency(ledger, await readText(since), kept)).trimEnd());
    return EXIT_STATUS.ok;
  }
  if (record === undefined || since !== undefined) throw oneClaim();
  if (!AUDIT_ID.test(record) && !/^\d{1,15}$/.test(record)) {
    throw new ZlError(
      'request.invalid',
      `${record} is neither the index nor the audit id of a record`,
    );
  }
  const which = AUDIT_ID.test(record) ? { leafHash: record } : { index: Number(record) };
  print(terminal, (await proveInclusion(ledger, which, kept)).trimEnd());
  return EXIT_STATUS.ok;
}

export async function auditCheckProof(
  terminal: Terminal,
  file: string,
  { record, since, hostKeys }: Claim & { readonly hostKeys: string },
): Promise<number> {
  const keys = await readVerifiers(hostKeys);
  const proof = parseProof(await readText(file));
  if (proof === undefined) throw new ZlError('file.unusable', `${file} is not a proof`);
  if (proof.kind === 'consistency') {
    if (since === undefined || record !== undefined) {
      throw new ZlError(
        'request.invalid',
        `${file} proves consistency: give the earlier checkpoint with --since`,
      );
    }
    const earlier = verifyCheckpoint(await readText(since), keys);
    const verdict =
      earlier.value === undefined
        ? earlier
        : checkConsistency(proof, { earlier: earlier.value, keys });
    const continued = `it continues the checkpoint over ${proof.earlierSize}`;
    return report(terminal, verdict, { proved: continued, hostKeys });
  }
  if (record === undefined || since !== undefined) {
    throw new ZlError(
      'request.invalid',
      `${file} proves a record: give its audit id or file with --record`,
    );
  }
  const leafHash = AUDIT_ID.test(record)
    ? Buffer.from(record, 'hex')
    : recordLeafHash((await readText(record)).replace(/\n$/, ''));
  const verdict = checkInclusion(proof, { leafHash, keys });
  return report(terminal, verdict, { proved: `record ${proof.index} is in it`, hostKeys });
}

function report(
  terminal: Terminal,
  verdict: ProofVerdict,
  { proved, hostKeys }: { readonly proved: string; readonly hostKeys: string },
): number {
  if (verdict.value !== undefined) {
    const { origin, ledgerId, size } = verdict.value;
    const name = `ledger ${ledgerId} of ${foreignLine(origin)}`;
    print(
      terminal,
      `Proved: ${proved}; the checkpoint covers ${counted(size, 'record')} of ${name}`,
    );
    return EXIT_STATUS.ok;
  }
  if (verdict.claimed === undefined) {
    print(terminal, `Not proved: ${foreignLine(verdict.error)}`);
    return EXIT_STATUS.failed;
  }
  const hashes = verdict.claimed.keyHashes.join(', ');
  print(
    terminal,
    `Not checked: the checkpoint's signature by key hash ${hashes}; add its key to ${hostKeys}`,
  );
  return EXIT_STATUS.unchecked;
}

function oneClaim(): ZlError {
  return new ZlError(
    'request.invalid',
    'give either --record, for a proof that the ledger holds it, or --since, for a proof that nothing earlier changed',
  );
}
