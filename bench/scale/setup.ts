import type { BackoffRange } from '@zerolatency/service/backoff';
import { readBridgeConfig } from '../../services/device-bridge/src/config.ts';
import { readRelayConfig } from '../../services/tool-relay/src/config.ts';
import type { Costs } from './costs.ts';

/** Everything a run depends on: the same setup gives the same result. */
export interface Setup {
  readonly seed: number;
  readonly devices: number;
  readonly joining: number;
  readonly pods: number;
  readonly width: number | undefined;
  readonly costs: Costs;
  readonly relay: RelayLimits;
  readonly backoff: BackoffRange;
  readonly drain: DrainRules;
  readonly network: Network;
  /** The first dial after a loss is spread over this time instead of the first backoff. */
  readonly firstDialWithinMs: number;
  /** Connections that a pod takes on in a second; more are cut before TLS. */
  readonly acceptsPerSecond: number;
  readonly areRenewalsEvents: boolean;
  /** Pods that found Redis away write their leases anew within this time of its return. */
  readonly rebuildWithinMs: number;
  /** All devices dial from one machine, as in the validation. */
  readonly isOneClient: boolean;
  readonly maxMs: number;
}

export interface RelayLimits {
  readonly maxUnproved: number;
  readonly connectsPerAddress: number;
  readonly handshakeMs: number;
  readonly maxDevices: number;
  readonly maxTenantDevices: number;
  readonly leaseTtlMs: number;
  readonly heartbeatMs: number;
}

export interface DrainRules {
  /** Devices that a draining pod asks to leave in a second; more where the deadline leaves too little time. */
  readonly shedPerSecond: number;
  readonly deadlineMs: number;
  readonly jitterMs: number;
  readonly closeAfterMs: number;
  /** The device dials the next pod before it leaves the old one. */
  readonly isMakeBeforeBreak: boolean;
  /** Devices that return to a pod that is back, in a second. */
  readonly returnPerSecond: number;
  /** How many pods the deploy replaces, one after the other. */
  readonly pods: number;
}

/** What no program of ours can measure. */
export interface Network {
  readonly minRttMs: number;
  readonly maxRttMs: number;
  readonly redisRttMs: number;
  readonly redisMasters: number;
  readonly balancerNoticesMs: number;
  readonly podStartMs: number;
  readonly callsPerSecond: number;
  readonly devicesPerAddress: number;
  readonly joiningPerAddress: number;
}

export const ASSUMED: Network = {
  minRttMs: 10,
  maxRttMs: 120,
  redisRttMs: 1,
  redisMasters: 6,
  balancerNoticesMs: 5_000,
  podStartMs: 10_000,
  callsPerSecond: 1 / 60,
  devicesPerAddress: 4,
  joiningPerAddress: 500,
};

/** The default settings of the relay. */
export function relayDefaults(): RelayLimits {
  const { devices, tenants, leaseTtlMs, sockets } = relayConfig();
  const { maxUnproved, connectsPerAddress, handshakeMs, max: maxDevices } = devices;
  return {
    maxUnproved,
    connectsPerAddress,
    handshakeMs,
    maxDevices,
    maxTenantDevices: tenants.maxDevices,
    leaseTtlMs,
    heartbeatMs: sockets.heartbeatMs,
  };
}

export function relayDrain(): Pick<DrainRules, 'closeAfterMs' | 'deadlineMs'> {
  return relayConfig().drain;
}

export function bridgeBackoff(): BackoffRange {
  const file = 'unused';
  const { relay } = readBridgeConfig({
    env: {},
    flags: {
      stateDir: file,
      'relay.urls': ['wss://relay.test/v1/device'],
      'relay.caFile': file,
      device: { credentialFile: file, keyFile: file },
      policy: { bundleFile: file, keysDir: file },
      servers: { manifestFile: file, keysDir: file },
    },
  });
  return relay.backoff;
}

function relayConfig() {
  const file = 'unused';
  return readRelayConfig({
    env: {},
    flags: {
      tls: { certFile: file, keyFile: file, caFile: file },
      'enrolment.jwksFile': file,
    },
  });
}
