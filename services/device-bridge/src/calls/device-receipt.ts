import type { CalleeCall, CalleeOutcome, Seal } from '@zerolatency/call';
import { type Receipt, signReceipt } from '@zerolatency/receipts';
import type { Digest, Signer } from '@zerolatency/signing';
import { type Run, readToolRequest } from './run.ts';

export interface Device {
  readonly id: string;
  readonly tenant: string;
}

/** A receipt needs a name even when the caller gave none. */
const NOBODY = 'unknown';
const MAX_NAME_CHARS = 256;

/** The device's receipt for a call; `run` is missing when an earlier process ran it. */
export async function sealOutcome(
  { call, ending, run }: { call: CalleeCall; ending: CalleeOutcome; run: Run | undefined },
  device: Device,
  signer: Signer,
): Promise<Seal> {
  const { tool, argumentsDigest } = run?.request ?? readToolRequest(call);
  const deviceUs = run?.elapsedUs ?? 0;
  const receipt: Receipt = {
    role: 'device',
    executor: 'device',
    callId: call.callId,
    tool,
    argumentsDigest,
    ...outcomeOf(ending),
    ...policyOf(run),
    elapsedUs: deviceUs,
    startedAt: run?.startedAt ?? new Date().toISOString(),
    deviceId: device.id,
    tenant: nameOf(call.principal.tenant),
    user: nameOf(call.principal.user),
  };
  const envelope = JSON.stringify(await signReceipt(receipt, signer));
  return { receipt: Buffer.from(envelope), deviceUs, serverUs: run?.serverUs ?? 0 };
}

function outcomeOf({ status, errorId, resultDigest }: CalleeOutcome) {
  if (status === 'done') {
    const digest: Digest = `sha256:${Buffer.from(resultDigest).toString('hex')}`;
    return { outcome: status, resultDigest: digest };
  }
  return { outcome: status, errorId: errorId === '' ? ('internal' as const) : errorId };
}

function policyOf(run: Run | undefined) {
  const decision = run?.decision;
  const caps = decision?.effect === 'allow' ? decision.caps : {};
  if (!decision?.policyId) return { caps };
  return { caps, policyId: decision.policyId, policyDigest: decision.policyDigest as Digest };
}

/** A cut can halve a character, and a receipt holds only well-formed text. */
function nameOf(given: string): string {
  return given === '' ? NOBODY : given.slice(0, MAX_NAME_CHARS).toWellFormed();
}
