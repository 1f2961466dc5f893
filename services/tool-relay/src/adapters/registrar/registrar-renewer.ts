import { ZlError } from '@zerolatency/errors';
import type { RegistrarClient } from '@zerolatency/revocations';
import { Bucket } from '@zerolatency/service/network';
import { fromConnectError } from '@zerolatency/service/rpc';
import type { Clock } from '../../ports.ts';
import type { HelloVerifier } from '../../sessions/hello.ts';
import type { Renewer } from '../../sessions/session-renewal.ts';

/** A device waits this long for its answer. */
const TIMEOUT_MS = 5_000;
/** A pod of 100,000 devices needs five a second; after an outage they come together. */
const RATE = { burst: 200, perSecond: 50 };
/** So that a tenant whose devices ask without end leaves most of it to the others. */
const TENANT_RATE = { burst: 100, perSecond: 20 };
const MAX_TENANTS = 10_000;

interface RegistrarRenewerOptions {
  readonly client: RegistrarClient;
  readonly verifier: Pick<HelloVerifier, 'check'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/** Passes renewals on to the registrar, and believes an answer only if hellos with it would pass. */
export function registrarRenewer({ client, verifier, clock }: RegistrarRenewerOptions): Renewer {
  const rate = new Bucket(RATE, clock.monotonicMs());
  const tenants = new Map<string, Bucket>();
  const rateOf = (tenant: string, nowMs: number) => {
    if (tenants.size >= MAX_TENANTS && !tenants.has(tenant)) tenants.clear();
    const known = tenants.get(tenant) ?? new Bucket(TENANT_RATE, nowMs);
    tenants.set(tenant, known);
    return known;
  };
  return {
    async renew(request, { tenant, deviceId }) {
      const nowMs = clock.monotonicMs();
      // What a tenant asks beyond its own rate takes nothing of the rate of all.
      if (!rateOf(tenant, nowMs).take(nowMs) || !rate.take(nowMs)) {
        throw new ZlError('limit.exceeded', 'this relay passes on no more renewals now');
      }
      const { credential } = await client.rpc
        .renew(request, { timeoutMs: TIMEOUT_MS })
        .catch((reason: unknown) => {
          throw fromConnectError(reason);
        });
      const device = await verifier.check(credential);
      if ('error' in device) throw device.error;
      if (device.tenant === tenant && device.deviceId === deviceId)
        return { ...device, credential };
      throw new ZlError('device.credential_invalid', 'the credential is of another device');
    },
  };
}
