import type { Costs } from './costs.ts';
import type { Result } from './observer.ts';
import { ASSUMED, bridgeBackoff, relayDefaults, relayDrain, type Setup } from './setup.ts';
import { Simulation } from './simulation.ts';

export type Event = 'loss' | 'deploy' | 'redis' | 'join';

/** One run: what happens, and what differs from the defaults. */
export interface Run {
  readonly event: Event;
  readonly name: string;
  readonly changes: Partial<Setup>;
}

export interface Outcome extends Run {
  readonly result: Result;
}

export const EVENTS: Readonly<Record<Event, string>> = {
  loss: 'a third of the pods is lost at once',
  deploy: 'all pods are replaced, one after the other',
  redis: 'Redis is away for 10 s, then every pod writes its leases',
  join: 'a tenant of 200,000 devices joins within a second',
};

const DEVICES = 1_000_000;
const PODS = 50;
/** The shares of pods and of devices. */
const LOST_SHARE = 1 / 3;
const JOINING_SHARE = 1 / 5;
const JOIN_WITHIN_MS = 1_000;
const REDIS_AWAY_MS = 10_000;
const MAX_MS = 240_000;
const MAX_DEPLOY_MS = 3 * 60 * 60 * 1000;
const SWEPT_DEVICES = 240_000;
const SWEPT_PODS = 12;
/** What the first pods show, the others repeat. */
const DEPLOYED_PODS = 3;
/** The share of a core that arrivals may take where they are limited. */
const ACCEPT_SHARE = 0.5;
/** What a draining relay gives its devices at most, in services/device-bridge. */
const DRAIN_JITTER_MS = 1_000;
/** What a draining relay tells to move. */
const SHED_PER_SECOND = 500;
const SHED_AT_ONCE = Number.POSITIVE_INFINITY;

export function defaults(costs: Costs): Setup {
  return {
    seed: 1,
    devices: DEVICES,
    joining: 0,
    pods: PODS,
    width: undefined,
    costs,
    relay: relayDefaults(),
    backoff: bridgeBackoff(),
    drain: {
      ...relayDrain(),
      shedPerSecond: SHED_PER_SECOND,
      jitterMs: DRAIN_JITTER_MS,
      isMakeBeforeBreak: true,
      returnPerSecond: SHED_AT_ONCE,
      pods: PODS,
    },
    network: ASSUMED,
    firstDialWithinMs: 0,
    acceptsPerSecond: Number.POSITIVE_INFINITY,
    areRenewalsEvents: false,
    rebuildWithinMs: 0,
    isOneClient: false,
    maxMs: MAX_MS,
  };
}

/** Connections that one core takes on with the share that arrivals may have. */
export function acceptRate({ tls, proof }: Costs): number {
  return Math.round((ACCEPT_SHARE * 1e6) / (tls + proof));
}

export function execute({ event, changes }: Run, base: Setup): Result {
  const setup = { ...base, ...changes };
  if (event === 'join') {
    const simulation = new Simulation({ ...setup, joining: setup.devices * JOINING_SHARE });
    simulation.joinWithin(JOIN_WITHIN_MS);
    return simulation.run(0);
  }
  if (event === 'deploy') {
    const simulation = new Simulation({ ...setup, maxMs: MAX_DEPLOY_MS });
    simulation.life.drain(0);
    return simulation.run(0);
  }
  if (event === 'redis') {
    const simulation = new Simulation({ ...setup, areRenewalsEvents: true });
    const ttlMs = setup.relay.leaseTtlMs;
    simulation.life.startRenewals(REDIS_AWAY_MS + 2 * ttlMs);
    simulation.life.loseRedis(REDIS_AWAY_MS);
    return simulation.run(REDIS_AWAY_MS + ttlMs);
  }
  const simulation = new Simulation(setup);
  simulation.life.kill(
    Array.from({ length: Math.round(setup.pods * LOST_SHARE) }, (_, index) => index),
  );
  return simulation.run(0);
}

/** The four events with the defaults. */
export function scenarios(): Run[] {
  return (['loss', 'deploy', 'redis', 'join'] as const).map((event) => ({
    event,
    name: 'the defaults',
    changes: {},
  }));
}

/** A smaller fleet with as many devices on each pod, so that many runs fit into minutes. */
export function sweep(base: Setup): Run[] {
  const runs = [...losses(base), ...deploys(base), ...rebuilds(base), ...joins(base)];
  return runs.map((run) => ({
    ...run,
    changes: { devices: SWEPT_DEVICES, pods: SWEPT_PODS, ...run.changes },
  }));
}

function losses({ backoff, costs }: Setup): Run[] {
  const accepts = { acceptsPerSecond: acceptRate(costs) };
  const within = (seconds: number) => ({ firstDialWithinMs: seconds * 1000 });
  const rows: [string, Partial<Setup>][] = [
    ['first dial within 30 s', within(30)],
    ['first dial within 60 s', within(60)],
    [`accepts ${accepts.acceptsPerSecond}/s`, accepts],
    ['maximum backoff 120 s', { backoff: { ...backoff, maxMs: 120_000 } }],
    ['minimum backoff 10 s', { backoff: { ...backoff, minMs: 10_000 } }],
    ['width 4, first dial within 60 s', { width: 4, ...within(60) }],
    ['width 4, first dial within 120 s', { width: 4, ...within(120) }],
  ];
  return rows.map(([name, changes]) => ({ event: 'loss', name, changes }));
}

function deploys({ drain }: Setup): Run[] {
  const rows = [
    [undefined, SHED_AT_ONCE, 1],
    [undefined, SHED_AT_ONCE, 30],
    [undefined, 2000, 1],
    [undefined, 500, 1],
    [4, SHED_AT_ONCE, 1],
    [4, 500, 1],
    [4, 100, 1],
  ] as const;
  return rows.map(([width, shed, jitterS]) => {
    const rate = Number.isFinite(shed) ? `shed ${shed}/s` : 'shed at once';
    const rules = {
      shedPerSecond: shed,
      returnPerSecond: shed,
      jitterMs: jitterS * 1000,
      // The device that is asked last needs time to move.
      closeAfterMs: drain.closeAfterMs + jitterS * 1000,
      deadlineMs: Number.POSITIVE_INFINITY,
      pods: DEPLOYED_PODS,
    };
    return {
      event: 'deploy',
      name: `${width === undefined ? '' : `width ${width}, `}${rate}, jitter ${jitterS} s`,
      changes: { width, drain: { ...drain, ...rules } },
    };
  });
}

function rebuilds({ relay, network }: Setup): Run[] {
  const rows = [
    [15, 6, 5],
    [30, 6, 0],
    [60, 6, 0],
    [15, 3, 0],
    [30, 3, 0],
  ] as const;
  return rows.map(([ttlS, redisMasters, withinS]) => ({
    event: 'redis',
    name: `lease ${ttlS} s, ${redisMasters} masters, written within ${withinS} s`,
    changes: {
      // Redis is loaded by the whole fleet.
      ...{ devices: DEVICES, pods: PODS },
      relay: { ...relay, leaseTtlMs: ttlS * 1000 },
      network: { ...network, redisMasters },
      rebuildWithinMs: withinS * 1000,
    },
  }));
}

function joins({ costs, relay }: Setup): Run[] {
  const acceptsPerSecond = acceptRate(costs);
  const rows: [string, Partial<Setup>][] = [
    [`accepts ${acceptsPerSecond}/s`, { acceptsPerSecond }],
    ['width 8', { width: 8 }],
    ['width 4', { width: 4 }],
    ['width 4, accepts as above', { width: 4, acceptsPerSecond }],
    [
      'width 4, 10,000 devices of a tenant',
      { width: 4, relay: { ...relay, maxTenantDevices: 10_000 } },
    ],
  ];
  return rows.map(([name, changes]) => ({ event: 'join', name, changes }));
}
