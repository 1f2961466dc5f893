import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { ToolContracts } from '@zerolatency/contracts';
import { fromUnknown } from '@zerolatency/errors';
import { type Bundle, type BundleState, decideSomeCall, matchesGlob } from '@zerolatency/policy';
import { Containment, type Server, ServerState, type Tool } from '@zerolatency/proto/bridge';
import type { Device, ListDevicesResponse } from '@zerolatency/proto/relay';
import { foreignLine } from '@zerolatency/redaction';
import type { ConsoleOverview } from '../../../../contracts/gen/overview.d.ts';
import { factsOf } from '../executors/device/catalog.ts';
import type { RecentTurns } from './recent-turns.ts';

type DeviceView = ConsoleOverview['devices']['list'][number];
type ServerView = DeviceView['servers'][number];
type ToolView = ServerView['tools'][number];

/** The relays as the console sees them. */
export interface RelayView {
  list(tenant: string, signal: AbortSignal): Promise<ListDevicesResponse>;
  status(): {
    readonly links: readonly {
      readonly url: string;
      readonly state: ConsoleOverview['links'][number]['state'];
      readonly handles: number;
    }[];
  };
}

export interface OverviewSources {
  readonly policy: { current(nowMs: number): BundleState };
  readonly contracts: ToolContracts;
  /** Undefined for a host without relays. */
  readonly relay: RelayView | undefined;
}

export type Subject = ConsoleOverview['subject'];

/** Each costs a decision of the policy. */
const MAX_TOOLS = 500;
const MAX_DEVICES = 100;
const MAX_LINKS = 100;
const MAX_TEXT_CHARS = 500;
const LIST_TIMEOUT_MS = 1_000;

/** Cut first, because reading a text costs by its length. */
function shown(text: string): string {
  return foreignLine(text.slice(0, MAX_TEXT_CHARS));
}

/** Everything the console shows beside the report of components. */
export async function overviewOf(
  { policy, contracts, relay }: OverviewSources,
  turns: RecentTurns,
  asked: Partial<Subject>,
): Promise<ConsoleOverview> {
  const nowMs = Date.now();
  const held = policy.current(nowMs);
  const subjects = turns.subjects();
  const subject = subjectOf(asked, subjects[0] ?? firstSubject(held));
  const links = relay?.status().links ?? [];
  return {
    at: new Date(nowMs).toISOString(),
    subject,
    subjects,
    policy: policyView(held),
    links: links.slice(0, MAX_LINKS).map(({ url, state, handles }) => {
      return { url: shown(url), state, devices: handles };
    }),
    devices: await devicesOf(relay, new Judge(held, { subject, contracts, nowMs })),
    turns: turns.latestFirst(),
  };
}

function subjectOf({ tenant, user, roles }: Partial<Subject>, known: Subject): Subject {
  if (tenant === undefined) return known;
  return { tenant, user: user ?? '', roles: roles ?? [] };
}

/** Before the first turn only the rules say who there is. */
function firstSubject(held: BundleState): Subject {
  const rules = held.state === 'none' ? [] : held.content.rules;
  const rule = rules.find(({ tenants }) => tenants !== undefined);
  return {
    tenant: rule?.tenants?.[0] ?? '',
    user: rule?.users?.[0] ?? '',
    roles: rule?.roles?.slice(0, 1) ?? [],
  };
}

function policyView(held: BundleState): ConsoleOverview['policy'] {
  if (held.state === 'none') return { state: 'none', name: '', rules: 0 };
  const expiresAt = new Date(held.expiresAtMs).toISOString();
  return { state: held.state, name: held.name, rules: held.content.rules.length, expiresAt };
}

async function devicesOf(
  relay: RelayView | undefined,
  judge: Judge,
): Promise<ConsoleOverview['devices']> {
  const { tenant } = judge.subject;
  if (relay === undefined || tenant === '') return { list: [], hasMore: false };
  try {
    const page = await relay.list(tenant, AbortSignal.timeout(LIST_TIMEOUT_MS));
    const list = page.devices.slice(0, MAX_DEVICES).map((device) => judge.device(device));
    const isWhole = list.length === page.devices.length && !judge.isSpent;
    return { list, hasMore: !isWhole || page.nextPageToken !== '' };
  } catch (reason) {
    // Turns and policy are worth a look while no relay answers.
    const { id, message } = fromUnknown(reason);
    return { list: [], hasMore: false, error: { id, message: shown(message) } };
  }
}

interface JudgeOptions {
  readonly subject: Subject;
  readonly contracts: ToolContracts;
  readonly nowMs: number;
}

/** Says of devices and their tools what the policy says, for a bounded number of tools. */
class Judge {
  readonly subject: Subject;
  isSpent = false;
  readonly #held: BundleState;
  readonly #bundle: Partial<Bundle>;
  readonly #contracts: ToolContracts;
  readonly #nowMs: number;
  #left = MAX_TOOLS;

  constructor(held: BundleState, { subject, contracts, nowMs }: JudgeOptions) {
    this.subject = subject;
    this.#held = held;
    this.#bundle = held.state === 'none' ? {} : held.content;
    this.#contracts = contracts;
    this.#nowMs = nowMs;
  }

  device({ deviceId, relayId, bridgeVersion, connectedAt, catalog }: Device): DeviceView {
    const { revokedDevices = [] } = this.#bundle;
    const { tenant } = this.subject;
    return {
      deviceId: shown(deviceId),
      relayId: shown(relayId),
      bridgeVersion: shown(bridgeVersion),
      ...(connectedAt && { connectedAt: timestampDate(connectedAt).toISOString() }),
      isRevoked: revokedDevices.some((it) => it.tenant === tenant && it.device === deviceId),
      servers: this.#take(catalog?.servers ?? []).map((server) => this.#server(deviceId, server)),
    };
  }

  #server(deviceId: string, server: Server): ServerView {
    const { name, version, state, containment, isUnpinned, tools } = server;
    return {
      name: shown(name),
      version: shown(version),
      state: STATES[state] ?? 'unknown',
      containment: CONTAINMENTS[containment] ?? 'unknown',
      isUnpinned,
      tools: this.#take(tools).map((tool) => this.#tool(deviceId, server, tool)),
    };
  }

  #tool(deviceId: string, server: Server, tool: Tool): ToolView {
    const name = `${server.name}.${tool.name}`;
    const facts = factsOf(this.#contracts, server, tool);
    const { contract, version, inSandbox, statedEffects: hasEffects } = facts;
    const decision = decideSomeCall(this.#held, {
      ...this.subject,
      ...{ tool: name, version, deviceId, hasEffects, inSandbox },
      ...{ nowMs: this.#nowMs, callsThisTurn: 0 },
    });
    const { rules = [] } = this.#bundle;
    const isByPath = rules.some(
      ({ paths, tools }) => paths !== undefined && tools.some((glob) => matchesGlob(glob, name)),
    );
    return {
      name: shown(name),
      description: shown(contract?.manifest.description ?? tool.description),
      effects: hasEffects === undefined ? 'unknown' : hasEffects ? 'some' : 'none',
      decision: {
        effect: decision.effect,
        ruleId: decision.ruleId ?? '',
        reason: decision.effect === 'allow' ? '' : shown(decision.reason),
        isByPath,
      },
    };
  }

  /** Servers count like tools, because a catalog may hold as many without any. */
  #take<T>(all: readonly T[]): readonly T[] {
    const taken = all.slice(0, this.#left);
    this.#left -= taken.length;
    if (taken.length < all.length) this.isSpent = true;
    return taken;
  }
}

const STATES: Partial<Record<ServerState, ServerView['state']>> = {
  [ServerState.STARTING]: 'starting',
  [ServerState.READY]: 'ready',
  [ServerState.FAILED]: 'failed',
};

const CONTAINMENTS: Partial<Record<Containment, ServerView['containment']>> = {
  [Containment.SANDBOX]: 'sandbox',
  [Containment.CGROUP]: 'cgroup',
  [Containment.PROCESS_GROUP]: 'process group',
};
