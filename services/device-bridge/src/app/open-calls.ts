import { join } from 'node:path';
import type { Tracer } from '@opentelemetry/api';
import { fromUnknown, type ZlError } from '@zerolatency/errors';
import { type Frame, FrameKind, WITNESS_FEATURE } from '@zerolatency/frame';
import type { BundleHolder } from '@zerolatency/policy';
import { watchFiles } from '@zerolatency/service/files';
import type { Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger } from '@zerolatency/service/telemetry';
import { openCheckpoints, readHostKeys } from '../adapters/checkpoints/checkpoint-folder.ts';
import { realFolders } from '../adapters/files/real-folders.ts';
import { streamDial } from '../adapters/http-stream/dial.ts';
import type { FileJournal } from '../adapters/journal/journal.ts';
import { Proxies } from '../adapters/proxy/proxies.ts';
import { wsDial } from '../adapters/ws/dial.ts';
import { type CallsClock, DeviceCalls } from '../calls/device-calls.ts';
import type { Device } from '../calls/run.ts';
import type { EndedCall, PolicyPort, RunnerDeps } from '../calls/runner.ts';
import type { BridgeConfig } from '../config.ts';
import { Connection } from '../connection/connection.ts';
import { Renewal, type RenewalDeps } from '../connection/renewal.ts';
import type {
  Attempt,
  ConnectionClock,
  ConnectionListener,
  ConnectionState,
} from '../connection/state.ts';
import type { BridgeMetrics } from '../metrics.ts';
import type { Log } from '../ports.ts';
import type { Supervisor } from '../servers/supervisor.ts';
import { Witness } from '../witness/witness.ts';

interface CallsParts {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly clock: CallsClock & ConnectionClock;
  readonly metrics: BridgeMetrics;
  readonly tracer: Tracer;
  readonly journal: FileJournal;
  readonly device: Device & Pick<RunnerDeps, 'signer'> & Pick<RenewalDeps, 'loadIdentity' | 'save'>;
  readonly policy: Pick<BundleHolder, 'decide' | 'restrictedFolders'>;
  readonly servers: Supervisor;
  readonly bridgeVersion: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onLive: () => void;
}

/** The device's calls and the connection they arrive on, which has not been started. */
export async function openCalls(config: BridgeConfig, parts: CallsParts) {
  const send = (frame: Frame) => connection.send(frame);
  const calls = openDeviceCalls(config, parts, send);
  const renewal = openRenewal(parts, send);
  const witness = await openWitness(config, parts, send);
  const connection = await openConnection(
    config,
    parts,
    listenerOf(parts, calls, { renewal, witness }),
  );
  return { calls, connection, renewal, witness };
}

async function openWitness(
  { witness, stateDir }: BridgeConfig,
  { log, metrics, clock }: CallsParts,
  send: (frame: Frame) => void,
): Promise<Witness | undefined> {
  if (witness === undefined) return undefined;
  const { hostKeysDir } = witness;
  return new Witness({
    store: await openCheckpoints(join(stateDir, 'witness')),
    hostKeysDir,
    hostKeys: () => readHostKeys(hostKeysDir),
    send,
    onResult: metrics.checkpoints(),
    nowMs: clock.monotonicMs,
    log,
  });
}

function openRenewal(
  { clock, device, metrics, log }: CallsParts,
  send: (frame: Frame) => void,
): Renewal {
  return new Renewal({
    ...{ clock, random: Math.random, send },
    loadIdentity: device.loadIdentity,
    save: device.save,
    onEnded: (failure) => {
      metrics.renewed(failure === undefined ? 'renewed' : 'failed');
      if (failure === undefined) log.info({}, 'credential renewed');
      else log.warn(fieldsOf(failure), `the credential is not renewed: ${failure.message}`);
    },
  });
}

function fieldsOf({ id: errorId, help }: ZlError) {
  return { errorId, help };
}

const MAINTAIN_MS = 500;
/** Rewriting the journal costs syncs that calls would wait for, so it waits for a pause. */
const IDLE_MS = 1_000;

function openDeviceCalls(
  config: BridgeConfig,
  parts: CallsParts,
  send: (frame: Frame) => void,
): DeviceCalls {
  const { lifecycle, log, clock, metrics, journal, device } = parts;
  const calls = new DeviceCalls({
    ...parts,
    limits: config.calls,
    send,
    nowMs: clock.nowMs,
    signer: device.signer,
    policy: policyPort(parts, config.policy),
    onEnded: (ended) => {
      metrics.callEnded(ended);
      logEnded(log, ended);
    },
    onRefused: (frame) => metrics.callRefused(frame),
    onFatal: (error) => {
      const { id: errorId, help } = fromUnknown(error);
      log.error({ errorId, help, err: error }, 'calls cannot go on: the bridge stops');
      void lifecycle.shutdown({ reason: 'calls cannot go on', deadlineMs: 0, error });
    },
  });
  metrics.callsRunning(() => calls.running);
  calls.recover();
  const maintenance = setInterval(() => {
    // The journal is gone, and a call that ran from now on would be forgotten.
    journal.maintain({ isIdle: calls.idleMs > IDLE_MS }).catch((error) => calls.fail(error));
  }, MAINTAIN_MS);
  maintenance.unref();
  lifecycle.onDrain('calls', (deadline) => calls.drain(deadline));
  lifecycle.onDrain('call journal', async () => {
    clearInterval(maintenance);
    calls.close();
  });
  return calls;
}

function policyPort(
  { policy, metrics, clock }: CallsParts,
  { hardLinks }: BridgeConfig['policy'],
): PolicyPort {
  return {
    decide(request) {
      const decision = policy.decide(request);
      metrics.decided(decision.effect);
      return decision;
    },
    async opened(tool, files) {
      const folders = policy.restrictedFolders(tool, clock.nowMs());
      if (folders.length === 0) return undefined;
      const counted = hardLinks === 'allow' ? files.map((file) => ({ ...file, links: 1 })) : files;
      return { files: counted, realFolders: await realFolders(folders) };
    },
  };
}

function logEnded(log: Logger, { callId, tool, ending, seconds }: EndedCall): void {
  const { status: outcome, errorId, errorMessage } = ending;
  const fields = { callId, tool, outcome, seconds };
  if (outcome === 'done') log.debug(fields, 'call ended');
  else log.info({ ...fields, errorId, why: errorMessage }, 'call ended');
}

async function openConnection(
  config: BridgeConfig,
  parts: CallsParts,
  listener: ConnectionListener,
): Promise<Connection> {
  const { lifecycle, log, clock, journal, device, servers, bridgeVersion } = parts;
  const { urls, handshakeMs, retryWebSocketMs, maxBufferedBytes, backoff } = config.relay;
  const proxies = new Proxies(config.relay.proxy, parts.env);
  let changed = () => {};
  const trust = await watchTrust(config, { log, onChange: () => changed() });
  const dialOptions = (url: string) => {
    return { ca: trust.ca(), timeoutMs: handshakeMs, proxy: proxies.for(url) };
  };
  const connection = new Connection({
    dials: { websocket: wsDial(dialOptions), http_stream: streamDial(dialOptions) },
    clock,
    relays: urls,
    random: Math.random,
    limits: {
      handshakeMs,
      retryWebSocketMs,
      maxBufferedBytes,
      minBackoffMs: backoff.minMs,
      maxBackoffMs: backoff.maxMs,
    },
    journalId: journal.id,
    lastEpoch: Math.max(0, ...journal.completeEpochs),
    bridgeVersion,
    features: config.witness === undefined ? [] : [WITNESS_FEATURE],
    loadIdentity: device.loadIdentity,
    catalog: () => servers.catalog,
    listener,
  });
  changed = () => connection.changed();
  lifecycle.onDrain('connection', async () => {
    trust.close();
    await connection.close();
  });
  return connection;
}

function listenerOf(
  { log, metrics, onLive }: CallsParts,
  calls: DeviceCalls,
  { renewal, witness }: { readonly renewal: Renewal; readonly witness: Witness | undefined },
): ConnectionListener {
  return {
    onFrame: (frame, host) => {
      if (frame.kind === FrameKind.WITNESS) witness?.hear(frame, host);
      else calls.frame(frame, host);
    },
    onCredential: (frame) => renewal.hear(frame),
    onIgnored: () => metrics.frameIgnored(),
    onLive: (epoch) => {
      calls.attached(epoch);
      onLive();
    },
    onLost: () => {
      calls.detached();
      renewal.detached();
    },
    onState: (state) => {
      metrics.connected(state.name === 'live' ? state.wire.transport : undefined);
      if (state.name === 'live') renewal.attached(state);
      if (state.name === 'live' && state.skewMs !== undefined) metrics.clockSkew(state.skewMs);
      logConnection(log, state);
    },
    onRedirect: (from, to) => {
      metrics.redirected(to === undefined ? 'refused' : 'followed');
      if (to === undefined) log.warn({ relay: from }, 'redirect refused');
      else log.info({ relay: from, to }, 'redirected');
    },
    onAttempt: (outcome) => metrics.attempted(outcome),
  };
}

/** Logs each state, with the remedy where only a person can help. */
function logConnection(log: Log, state: ConnectionState): void {
  if (state.name === 'idle' || state.name === 'closed') {
    log.debug({ connection: state.name }, 'connection state');
    return;
  }
  if (state.name !== 'live') {
    logAttempt(log, state, {});
    return;
  }
  const { wire, epoch, skewMs: clockSkewMs, successor } = state;
  if (successor === undefined) {
    const { relay, transport } = wire;
    log.info({ connection: 'live', relay, transport, epoch, clockSkewMs }, 'live');
  } else {
    logAttempt(log, successor, { leaving: wire.relay });
  }
}

/** `leaving` is the relay whose connection still serves. */
function logAttempt(log: Log, attempt: Attempt, leaving: { readonly leaving?: string }): void {
  const fields = { connection: attempt.name, ...leaving };
  switch (attempt.name) {
    case 'lost': {
      const lost = { ...fields, why: attempt.why, retryInMs: attempt.retryInMs };
      if (leaving.leaving === undefined) log.warn(lost, 'connection lost');
      else log.info(lost, 'moving to another connection');
      break;
    }
    case 'refused':
      log.error(
        {
          ...fields,
          errorId: attempt.error.id,
          why: attempt.error.message,
          help: attempt.error.help,
        },
        'the relay refuses the device, which tries again when its credential file changes',
      );
      break;
    default:
      log.debug(fields, 'connection state');
  }
}

const POLL_MS = 1_000;

/** Watches the authorities a connection trusts and the device's credential. */
async function watchTrust(
  { relay, device }: Pick<BridgeConfig, 'relay' | 'device'>,
  { log, onChange }: { readonly log: Log; readonly onChange: () => void },
) {
  let ca = '';
  const watch = watchFiles({
    files: async () => [relay.caFile, device.credentialFile],
    pollMs: POLL_MS,
    onChange: (contents) => {
      ca = contents.get(relay.caFile)?.toString('utf8') ?? '';
      onChange();
    },
    onError: (reason) => log.warn({ why: String(reason) }, 'the trust files cannot be read'),
  });
  await watch.check();
  return { ca: () => ca, close: () => watch.close() };
}
