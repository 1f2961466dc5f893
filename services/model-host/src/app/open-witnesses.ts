import type { DeviceIdentity } from '@zerolatency/identity';
import { proveConsistency, verifyCheckpoint } from '@zerolatency/ledger';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { HostLedger } from '../adapters/ledger/host-ledger.ts';
import type { EndedCall } from '../calls/ports.ts';
import type { DeviceRoutes } from '../executors/device/remote-call.ts';
import { witnessRequests } from '../metrics.ts';
import { Witnesses } from '../witnesses/witnesses.ts';

/** The first round soon, so that a host that runs for a minute has witnesses too. */
const FIRST_ROUND_MS = 1_000;
/** A round costs a device a few hundred bytes and one small write. */
const ROUND_EVERY_MS = 10_000;
/** Further ones are asked after a later call. */
const MAX_DEVICES = 4_096;

export interface OpenedWitnesses {
  /** Its device is asked in the next round. */
  called(call: Pick<EndedCall, 'executor' | 'scope'>): void;
  readonly check: ComponentCheck;
}

interface WitnessDeps {
  readonly devices: DeviceRoutes;
  readonly ledger: HostLedger;
  readonly signer: Signer;
  readonly lifecycle: Lifecycle;
  readonly registry: Registry;
  readonly log: Logger;
}

/** Asks the devices that were called since the last round, beside the calls and after them. */
export function openWitnesses(deps: WitnessDeps): OpenedWitnesses {
  const { devices, ledger, signer, lifecycle, registry, log } = deps;
  const keys = [signer.verifier()];
  const witnesses = new Witnesses({
    devices,
    newest: async () => (ledger.isCorrupt ? '' : ledger.checkpoint()),
    ownCheckpoint: (note) => verifyCheckpoint(note, keys).value,
    prove: (earlier, note) => proveConsistency(ledger.source, earlier, note),
    onResult: witnessRequests(registry),
    log,
  });
  const called = new Map<string, DeviceIdentity>();
  let timer: NodeJS.Timeout | undefined;
  let lastMs = Number.NEGATIVE_INFINITY;
  const soon = () => {
    const waitMs = Math.max(FIRST_ROUND_MS, lastMs + ROUND_EVERY_MS - performance.now());
    timer ??= setTimeout(async () => {
      const asked = [...called.values()];
      called.clear();
      await witnesses.ask(asked);
      lastMs = performance.now();
      timer = undefined;
      if (called.size > 0) soon();
    }, waitMs).unref();
  };
  lifecycle.onDrain('devices', async () => clearTimeout(timer));
  return {
    called: ({ executor, scope: { identity, deviceId } }) => {
      if (executor !== 'device' || called.size >= MAX_DEVICES) return;
      called.set(JSON.stringify([identity.tenant, deviceId]), {
        tenant: identity.tenant,
        deviceId,
      });
      soon();
    },
    check: async () => witnesses.status(),
  };
}
