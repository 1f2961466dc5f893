import { type ErrorId, isErrorId, ZlError } from '@zerolatency/errors';
import { type Fault, faultLine, faultsIn, type Probe } from './probe.ts';

/** Whether a first chat can run: not yet, never without a person's help, or now. */
export type Readiness =
  | { readonly state: 'waiting'; readonly missing: readonly string[] }
  | { readonly state: 'failed'; readonly error: ZlError }
  | { readonly state: 'ready'; readonly warnings: readonly string[] };

/** Without these no tool runs, and time does not mend them. */
const NEEDED: Readonly<Record<string, ErrorId>> = {
  policy: 'policy.unavailable',
  manifest: 'manifest.invalid',
  journal: 'journal.failed',
  ledger: 'ledger.failed',
};
const UNUSABLE = ['none', 'expired', 'failing', 'down'];
/** A bridge on its way to the relay. */
const CONNECTING = ['idle', 'dialling', 'proving', 'lost'];

export function readinessOf(probes: readonly Probe[]): Readiness {
  const faults = probes.flatMap(({ name, report }) =>
    faultsIn(report).map((fault) => ({ component: name, fault })),
  );
  for (const { component, fault } of faults) {
    const id = fatalId(fault);
    if (id === undefined) continue;
    return { state: 'failed', error: new ZlError(id, `${component}: ${faultLine(fault)}`) };
  }
  const missing = [...probes.flatMap(unanswered), ...faults.flatMap(passing)];
  if (missing.length > 0) return { state: 'waiting', missing };
  const warnings = faults.map(({ component, fault }) => `${component}: ${faultLine(fault)}`);
  return { state: 'ready', warnings };
}

function unanswered({ name, health, error, report }: Probe): string[] {
  if (health === 'down') return [`${name} (${error ?? 'no answer'})`];
  if (report?.state === undefined || !CONNECTING.includes(String(report.state))) return [];
  return [`${name} (${report.state})`];
}

function passing({ component, fault }: { component: string; fault: Fault }): string[] {
  const isFirstStart = fault.state === 'starting' && fault.errorId === undefined;
  const isConnecting = fault.name === 'relay' && fault.state === 'down';
  return isFirstStart || isConnecting ? [`${component}: ${faultLine(fault)}`] : [];
}

function fatalId({ name, state, errorId = '' }: Fault): ErrorId | undefined {
  if (state === 'refused') return isErrorId(errorId) ? errorId : 'device.credential_invalid';
  const needed = NEEDED[name];
  if (needed === undefined || !UNUSABLE.includes(state)) return undefined;
  return isErrorId(errorId) ? errorId : needed;
}
