import { BundleHolder, type BundleState } from '@zerolatency/policy';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import { memoryFloor, openFloorFile, watchDocument } from '@zerolatency/signing';
import type { HostConfig } from '../config.ts';
import { bundleRefusals, exposeBundle } from '../metrics.ts';

interface PolicyDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  /** Called before the first decision under a new bundle or state. */
  readonly onChange: (now: BundleState) => void;
}

/** Resolves after the first look at the bundle, whatever it found. */
export async function openPolicy(
  config: HostConfig['policy'],
  deps: PolicyDeps,
): Promise<BundleHolder> {
  const { lifecycle, log, registry, onChange } = deps;
  const { bundleFile: file, keysDir, stateFile } = config;
  const holder = new BundleHolder({
    floor: stateFile === '' ? memoryFloor() : openFloorFile(stateFile),
  });
  holder.onChange(onChange);
  const refused = bundleRefusals(registry);
  if (file === '') {
    holder.note(Date.now());
  } else {
    const watch = await watchDocument({
      holder,
      file,
      ...(keysDir === '' ? {} : { keysDir }),
      log,
      onRefused: ({ reason }) => refused(reason),
    });
    lifecycle.onDrain('policy', async () => watch.close());
  }
  exposeBundle(registry, (nowMs) => holder.current(nowMs));
  return holder;
}

export function policyCheck(policy: BundleHolder): ComponentCheck {
  return async () => {
    const held = policy.current(Date.now());
    if (held.state === 'none') return { status: 'degraded', detail: 'no bundle: tools are denied' };
    const status = held.state === 'active' ? 'ok' : 'degraded';
    return { status, detail: `${held.name} is ${held.state}` };
  };
}
