import type { ZlError } from '@zerolatency/errors';
import { type BundleState, sandboxDemand } from '@zerolatency/policy';
import type { Device } from './calls/run.ts';
import type { Attempt, ConnectionState } from './connection/state.ts';
import type { ManagedServer } from './servers/managed-server.ts';
import type { Witness } from './witness/witness.ts';

export type ManifestState =
  | { readonly state: 'starting' }
  /** `why` is what was wrong with the file when it was last read. */
  | { readonly state: 'none'; readonly why: string }
  | {
      readonly state: 'active';
      readonly manifestId: string;
      readonly digest: string;
      readonly why?: string;
    };

interface StatusParts {
  readonly version: string;
  readonly configDigest: string;
  readonly device: Device;
  readonly credential: {
    readonly expiresAt: string | undefined;
    /** Why it is not renewed. */
    readonly why?: string;
    readonly errorId?: string;
  };
  readonly isDraining: boolean;
  readonly connection: ConnectionState;
  readonly manifest: ManifestState;
  readonly servers: readonly ManagedServer[];
  /** Names of servers that left the manifest and still run calls. */
  readonly leaving: readonly string[];
  readonly journal: {
    readonly id: Uint8Array;
    readonly running: number;
    /** Why no tool runs: the journal cannot be written. */
    readonly failure: ZlError | undefined;
  };
  readonly policy: BundleState;
  /** What is wrong with the bundle's file, which may hold a revocation. */
  readonly policyRefusal: ZlError | undefined;
  /** Undefined without witness.hostKeysDir. */
  readonly witness: ReturnType<Witness['status']> | undefined;
}

export type BridgeStatus = ReturnType<typeof statusOf>;

/** The status of this device that `zl status` shows. */
export function statusOf(parts: StatusParts) {
  const { version, configDigest, device, credential, connection, manifest, servers, leaving } =
    parts;
  const { isDraining, journal, policy, policyRefusal, witness } = parts;
  return {
    service: 'device-bridge',
    version,
    configDigest,
    device,
    credential,
    ...(isDraining ? DRAINING : connectionStatus(connection)),
    manifest,
    servers: servers.map((server) => serverStatus(server, policy)),
    leaving,
    journal: journalStatus(journal),
    policy: policyStatus(policy, policyRefusal),
    ...(witness && { witness }),
  };
}

/** Calls that run may still end, over a connection that is still live. */
const DRAINING = { state: 'draining', why: 'it stops, and takes no new calls' } as const;

function connectionStatus(state: ConnectionState) {
  switch (state.name) {
    case 'live': {
      const { name, wire, epoch, skewMs: clockSkewMs, successor } = state;
      const { relay, transport } = wire;
      const live = { state: name, relay, transport, epoch, clockSkewMs };
      return successor === undefined ? live : { ...live, next: attemptStatus(successor) };
    }
    case 'idle':
    case 'closed':
      return { state: state.name };
    default:
      return attemptStatus(state);
  }
}

function attemptStatus(attempt: Attempt) {
  switch (attempt.name) {
    case 'lost':
      return { state: attempt.name, why: attempt.why, retryInMs: attempt.retryInMs };
    case 'refused':
      return { state: attempt.name, why: attempt.error.message, errorId: attempt.error.id };
    default:
      return { state: attempt.name, relay: attempt.wire.relay, transport: attempt.wire.transport };
  }
}

function journalStatus({ id, running, failure }: StatusParts['journal']) {
  const status = { id: Buffer.from(id).toString('hex'), running };
  if (failure === undefined) return status;
  return { ...status, state: 'failing' as const, errorId: failure.id, why: failure.message };
}

function serverStatus(managed: ManagedServer, policy: BundleState) {
  const { spec, state, failure } = managed;
  const server = { name: spec.name, ...('unpinned' in spec && { unpinned: true }) };
  switch (state.name) {
    case 'ready': {
      const { connection, containment, tools } = state;
      const { pid, serverVersion: version } = connection;
      const names = [...tools.keys()];
      const ready = { ...server, state: state.name, version, pid, containment, tools: names };
      const denied = containment === 'sandbox' ? [] : deniedOutside(managed, names, policy);
      return denied.length === 0 ? ready : { ...ready, denied };
    }
    default: {
      // Also while its next process starts.
      if (failure === undefined) return { ...server, state: state.name };
      const { error, stderr } = failure;
      return { ...server, state: state.name, errorId: error.id, why: error.message, stderr };
    }
  }
}

/** What the policy denies to everyone because the server runs in no sandbox. */
function deniedOutside(server: ManagedServer, tools: readonly string[], policy: BundleState) {
  if (policy.state === 'none') return [];
  return tools.flatMap((name) => {
    const tool = `${server.spec.name}.${name}`;
    const rule = sandboxDemand(policy.content, { tool, hasEffects: server.hasEffects(name) });
    return rule === undefined ? [] : [{ tool: name, ruleId: rule.id }];
  });
}

function policyStatus(policy: BundleState, refusal: ZlError | undefined) {
  const held = heldPolicy(policy);
  return refusal === undefined ? held : { ...held, errorId: refusal.id, why: refusal.message };
}

function heldPolicy(policy: BundleState) {
  if (policy.state === 'none') return { state: policy.state };
  const { state, name: policyId, digest, expiresAtMs } = policy;
  return { state, policyId, digest, expiresAt: new Date(expiresAtMs).toISOString() };
}
