import {
  BundleHolder,
  type BundleState,
  memoryFloor,
  openFloorFile,
  watchBundle,
} from '@zerolatency/policy';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import type { HostConfig } from '../config.ts';
import { bundleRefusals, exposeBundle } from '../metrics.ts';

interface PolicyDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  /** Told what is decided by, before it decides. */
  readonly onChange: (now: BundleState) => void;
}

/** Resolves after the first look at the bundle, whatever it found. */
export async function openPolicy(
  config: HostConfig['policy'],
  deps: PolicyDeps,
): Promise<BundleHolder> {
  const holder = await openHolder(config, deps);
  exposeBundle(deps.registry, (nowMs) => holder.current(nowMs));
  return holder;
}

async function openHolder(
  { bundleFile, keysDir, stateFile }: HostConfig['policy'],
  { lifecycle, log, registry, onChange }: PolicyDeps,
): Promise<BundleHolder> {
  const floor = stateFile === '' ? memoryFloor() : openFloorFile(stateFile);
  const refused = bundleRefusals(registry);
  if (bundleFile === '') {
    const none = new BundleHolder({ keys: [], floor, onChange });
    none.note(Date.now());
    return none;
  }
  const keys = keysDir === '' ? {} : { keysDir };
  const observer = { changed: onChange, refused };
  const watch = await watchBundle({ envelopePath: bundleFile, ...keys, floor, log, observer });
  lifecycle.onDrain('policy', async () => watch.close());
  return watch.holder;
}

export function policyCheck(policy: BundleHolder): ComponentCheck {
  return async () => {
    const held = policy.current(Date.now());
    if (held.state === 'none') return { status: 'degraded', detail: 'no bundle: tools are denied' };
    const status = held.state === 'active' ? 'ok' : 'degraded';
    return { status, detail: `${held.policyId} is ${held.state}` };
  };
}
