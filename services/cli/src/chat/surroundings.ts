import { fromLocal, type ZlError } from '@zerolatency/errors';
import type { Device } from '@zerolatency/proto/relay';
import { foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import { listDevices } from '../commands/devices.ts';
import type { Settings } from '../settings.ts';
import { PROBE_TIMEOUT_MS, probeAdmin, type Report } from '../status/probe.ts';

/** What the turns of a conversation use; a person may change it between two of them. */
export interface TurnChoice {
  /** Empty: no device, and so no tools. */
  deviceId: string;
  /** A turn is then not run without it. */
  isDeviceNamed: boolean;
  /** Empty: the host's default. */
  model: string;
}

/** What there is to choose from. */
export interface Surroundings {
  /** The default first; empty when the host does not say. */
  readonly models: readonly string[];
  /** Such as local@4; empty when the host does not say. */
  readonly policy: string;
  readonly devices: readonly Device[] | ZlError;
}

export async function surroundingsOf(settings: Settings): Promise<Surroundings> {
  const [host, devices] = await Promise.all([
    probeAdmin({ name: 'model-host', address: settings.host.adminUrl }),
    listDevices(settings, { timeoutMs: PROBE_TIMEOUT_MS }).catch(fromLocal),
  ]);
  const component = (name: string): Report => {
    const { components = [] } = host.report ?? {};
    return Array.isArray(components) ? (components.find((each) => each?.name === name) ?? {}) : {};
  };
  const { choices } = component('models');
  const { version, status } = component('policy');
  const policy = typeof version === 'string' ? version : '';
  return {
    models: Array.isArray(choices) ? choices.map(String) : [],
    policy: status === 'ok' || policy === '' ? policy : `${policy} (${String(status)})`,
    devices,
  };
}

/** Such as: mock · this-machine · 4 tools · local@4. */
export function openingLine(around: Surroundings, choice: TurnChoice): string {
  const model = choice.model || around.models[0] || "the host's default model";
  const parts = [model, ...deviceWords(around.devices, choice.deviceId)];
  return foreignLine([...parts, around.policy || 'policy unknown'].join(' · '));
}

function deviceWords(devices: Surroundings['devices'], deviceId: string): string[] {
  if (deviceId === '') return ['no device'];
  if (!Array.isArray(devices)) return [deviceId, 'tools unknown'];
  const device = devices.find((each: Device) => each.deviceId === deviceId);
  if (device === undefined) return [`${deviceId} is not connected`, 'no tools'];
  const count = toolsOf(device).length;
  return [deviceId, counted(count, 'tool')];
}

export interface OfferedTool {
  readonly name: string;
  readonly description: string;
}

export function toolsOf({ catalog }: Device): OfferedTool[] {
  return (catalog?.servers ?? []).flatMap((server) =>
    server.tools.map(({ name, description }) => ({
      name: `${server.name}.${name}`,
      description,
    })),
  );
}
