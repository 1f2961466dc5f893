import type { CallIntent, Route } from '@zerolatency/call';
import type { Frame } from '@zerolatency/frame';
import type { Deny } from '@zerolatency/policy';
import type { Server } from '@zerolatency/proto/bridge';
import type { Outcome, Receipt } from '@zerolatency/receipts';
import type { OnMasked } from '@zerolatency/redaction';
import type { Envelope, Verifier } from '@zerolatency/signing';

/** A device as this host reaches it now. */
export interface DeviceSession extends Route {
  readonly servers: readonly Server[];
  /** As the enrolment authority signed it; verified. */
  readonly credential: string;
  /** Of the key in the credential: the only one whose signature makes a receipt this device's. */
  readonly verifier: Verifier;
}

/** One call in the eyes of the route it takes. */
export interface RouteUser {
  onFrame(frame: Frame): void;
  onRouteUp(session: DeviceSession): void;
  onRouteLost(): void;
}

/** The way to one device. It comes up while anyone needs it, as often as it must. */
export interface DeviceRoute {
  readonly session: DeviceSession | undefined;
  /** Rejects, soon, with the ZlError of what keeps the device from being reached. */
  ready(signal: AbortSignal): Promise<DeviceSession>;
  /** Tells the user of the route right away when it is up. */
  attach(callId: string, user: RouteUser): void;
  detach(callId: string): void;
  send(frame: Frame): void;
}

export interface DeviceRoutes {
  route(tenant: string, deviceId: string): DeviceRoute;
}

/** What is true of a call from its beginning; every receipt of it carries this. */
export type CallFacts = Pick<
  Receipt,
  | 'executor'
  | 'callId'
  | 'tool'
  | 'toolVersion'
  | 'argumentsDigest'
  | 'caps'
  | 'startedAt'
  | 'policyId'
  | 'policyDigest'
  | 'deviceId'
  | 'tenant'
  | 'user'
  | 'turnId'
> & {
  /** For the ledger alone; the receipt holds the digest. */
  readonly argumentSalt: Uint8Array;
};

export interface CallLedger {
  /**
   * Before the call is sent. With `durable` it resolves once the record would
   * survive a crash of the machine; otherwise the record is only in order
   * before all later ones, and there is nothing to wait for. Throws or rejects
   * ledger.failed.
   */
  intend(facts: CallFacts, intent: CallIntent, durable: boolean): Promise<void> | undefined;
  /** In order before the call's receipt, which is what makes it durable. */
  denied(facts: CallFacts, by: Pick<Deny, 'ruleId' | 'reason'>): void;
  /** Resolves once it would survive a crash of the machine. */
  conclude(call: Pick<CallFacts, 'callId' | 'argumentSalt'>, receipt: Envelope): Promise<void>;
}

export interface ToolMetrics {
  running(change: 1 | -1): void;
  resumed(): void;
  decided(effect: 'allow' | 'deny', ms: number): void;
  ended(call: { tool: string; outcome: Outcome; errorId: string; ms: number }): void;
  /** device: without the time the bridge took; server: with the MCP server. */
  roundTrip(hop: 'device' | 'server', ms: number): void;
  /** In arguments, results and errors of tools. */
  readonly masked: OnMasked;
}

export const noToolMetrics: ToolMetrics = {
  running() {},
  resumed() {},
  decided() {},
  ended() {},
  roundTrip() {},
  masked() {},
};

/** The host's own bounds; the policy's caps narrow them. */
export interface ToolLimits {
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly callsPerTurn: number;
  /** After its deadline a call waits this long for the device's word before it is unknown. */
  readonly graceMs: number;
}

export const defaultToolLimits: ToolLimits = {
  timeoutMs: 30_000,
  maxBytes: 1024 * 1024,
  callsPerTurn: 100,
  graceMs: 2000,
};
