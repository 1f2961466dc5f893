import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Tracer } from '@opentelemetry/api';
import { loadToolContracts } from '@zerolatency/contracts';
import { type Ledger, openLedger, type WriterOptions } from '@zerolatency/ledger';
import { type Bundle, BundleHolder, POLICY_BUNDLE, type Rule } from '@zerolatency/policy';
import { currentBundle } from '@zerolatency/policy/testing';
import { type ReceiptVerdict, verifyReceipt } from '@zerolatency/receipts';
import {
  generateKeyPair,
  memoryFloor,
  signDocument,
  signerFromPem,
  verifierFromPem,
} from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { createCallLedger } from '../../src/adapters/ledger/records.ts';
import type { RelayClientOptions } from '../../src/adapters/relay/relay-client.ts';
import { logCalls } from '../../src/app/turn-telemetry.ts';
import type { CallLedger, Executor, ToolLimits, ToolMetrics } from '../../src/calls/ports.ts';
import { createToolboxes } from '../../src/calls/toolbox.ts';
import { deviceExecutor } from '../../src/executors/device/device-executor.ts';
import type { Toolboxes, TurnScope } from '../../src/ports.ts';
import type { LinkRelay } from './link-relay.ts';
import { type RelayWorld, relayWorld } from './relay-world.ts';
import { type OfferedTool, ToolDevice } from './tool-device.ts';

export const contracts = loadToolContracts(
  join(import.meta.dirname, '../../../../contracts/tools'),
);

export const never = AbortSignal.any([]);

export interface ToolWorld extends RelayWorld {
  readonly relay: LinkRelay;
  readonly other: LinkRelay;
  readonly device: ToolDevice;
  readonly ledger: Ledger;
  readonly toolboxes: Toolboxes;
  readonly scope: TurnScope;
  readonly key: ReturnType<typeof generateKeyPair>;
  readonly ledgerDir: string;
  /** What the host logs of each call. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  verify(receiptJson: string): ReceiptVerdict;
}

export interface ToolWorldOptions {
  readonly tools: readonly OfferedTool[];
  readonly rules?: readonly Rule[];
  readonly revokedDevices?: Bundle['revokedDevices'];
  readonly limits?: Partial<ToolLimits>;
  readonly relay?: Partial<RelayClientOptions>;
  readonly tracer?: Tracer;
  /** Used in addition to the device executor. */
  readonly executors?: readonly Executor[];
  /** Another place for the ledger than a folder. */
  readonly openLedger?: (writer: WriterOptions) => Promise<Ledger>;
  readonly wrapLedger?: (ledger: CallLedger) => CallLedger;
}

const NO_METRICS: ToolMetrics = {
  running() {},
  resumed() {},
  decided() {},
  ended() {},
  roundTrip() {},
  masked() {},
};

/** A host with its ledger and policy, two relay pods, and one device on the first of them. */
export async function toolWorld(t: TestContext, options: ToolWorldOptions): Promise<ToolWorld> {
  let opened: Ledger | undefined;
  // Registered first, so that the ledger closes before its folder is removed.
  t.after(async () => {
    // One that another host has ended cannot be closed in order.
    if (opened?.state !== 'failed') await opened?.close();
  });
  const world = await relayWorld(t, options.relay);
  const enrolled = await world.enrol('laptop');
  const device = new ToolDevice(enrolled, options.tools);
  const [relay, other] = world.relays;
  if (relay === undefined || other === undefined) throw new Error('two relays were started');
  relay.connect(device);
  const key = generateKeyPair();
  const signer = signerFromPem(key.privatePem);
  const ledgerDir = tempDir(t);
  const writer = { signer, origin: 'test/host' };
  const ledger = await (options.openLedger?.(writer) ??
    openLedger({ ...writer, dir: ledgerDir, fsync: false }));
  opened = ledger;
  const lines: Record<string, unknown>[] = [];
  const { wrapLedger = (same) => same } = options;
  const toolboxes = createToolboxes({
    quotas: { toolCall: async () => {} },
    executors: [
      deviceExecutor({ devices: world.devices, contracts, onResumed() {} }),
      ...(options.executors ?? []),
    ],
    policy: await policyOf(options.rules, options.revokedDevices),
    ledger: wrapLedger(createCallLedger(ledger)),
    signer,
    limits: options.limits,
    metrics: NO_METRICS,
    onEnded: logCalls({ info: (fields: object) => void lines.push({ ...fields }) }),
    tracer: options.tracer,
  });
  const hostKeys = [verifierFromPem(key.publicPem)];
  const deviceKeys = [verifierFromPem(enrolled.key.publicPem)];
  const verify = (envelope: string) => verifyReceipt({ envelope, hostKeys, deviceKeys });
  return {
    ...world,
    relay,
    other,
    device,
    ledger,
    ledgerDir,
    toolboxes,
    scope: SCOPE,
    key,
    verify,
    lines,
  };
}

export const SCOPE: TurnScope = {
  identity: { tenant: 'north', user: 'user-1', roles: ['dev'] },
  sessionId: 'session-1',
  turnId: 'turn-1',
  deviceId: 'laptop',
};

export async function policyOf(
  rules?: readonly Rule[],
  revokedDevices: Bundle['revokedDevices'] = [],
): Promise<BundleHolder> {
  const key = generateKeyPair();
  const holder = new BundleHolder({ keys: [key.publicPem], floor: memoryFloor() });
  const schema = 'zerolatency.policy/v2';
  const bundle = currentBundle({ schema, id: 'test', revokedDevices, ...(rules && { rules }) });
  const offer = await holder.offer(
    await signDocument(POLICY_BUNDLE, bundle, [signerFromPem(key.privatePem)]),
    Date.now(),
  );
  if ('error' in offer) throw offer.error;
  return holder;
}
