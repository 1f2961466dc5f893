import { watchFiles } from '@zerolatency/service/files';
import type { SqliteJournal } from '../adapters/sqlite/journal.ts';
import { wsDial } from '../adapters/ws/dial.ts';
import type { DeviceCalls } from '../calls/device-calls.ts';
import type { BridgeConfig } from '../config.ts';
import { Connection } from '../connection/connection.ts';
import type { ConnectionClock, ConnectionListener, ConnectionState } from '../connection/state.ts';
import type { BridgeMetrics } from '../metrics.ts';
import type { Log } from '../ports.ts';
import type { Supervisor } from '../servers/supervisor.ts';
import type { OpenedDevice } from './open-device.ts';

interface Parts {
  readonly log: Log;
  readonly clock: ConnectionClock;
  readonly metrics: BridgeMetrics;
  readonly journal: SqliteJournal;
  readonly device: OpenedDevice;
  readonly calls: DeviceCalls;
  readonly servers: Supervisor;
  readonly bridgeVersion: string;
  readonly onLive: () => void;
}

/** Returns a connection that has not been started, and what closes it. */
export async function openConnection(config: BridgeConfig, parts: Parts) {
  const { log, clock, journal, device, servers, bridgeVersion } = parts;
  const { urls, handshakeMs, maxBufferedBytes, backoff } = config.relay;
  const onChange = () => changed();
  let changed = () => {};
  const trust = await watchTrust(config, { log, onChange });
  const connection = new Connection({
    dial: wsDial(() => ({ ca: trust.ca(), timeoutMs: handshakeMs })),
    clock,
    relays: urls,
    random: Math.random,
    limits: {
      handshakeMs,
      maxBufferedBytes,
      minBackoffMs: backoff.minMs,
      maxBackoffMs: backoff.maxMs,
    },
    journalId: journal.id,
    bridgeVersion,
    loadIdentity: device.loadIdentity,
    catalog: () => servers.catalog,
    listener: listenerOf(parts),
  });
  changed = () => connection.changed();
  const close = async () => {
    trust.close();
    await connection.close();
  };
  return { connection, close };
}

function listenerOf({ log, metrics, calls, onLive }: Parts): ConnectionListener {
  return {
    onFrame: (frame) => calls.frame(frame),
    onIgnored: () => metrics.frameIgnored(),
    onLive: (epoch) => {
      calls.attached(epoch);
      onLive();
    },
    onLost: () => calls.detached(),
    onState: (state) => {
      metrics.connected(state.name === 'live');
      logConnection(log, state);
    },
    onAttempt: (outcome) => metrics.attempted(outcome),
  };
}

/** Logs each state, with the remedy where only a person can help. */
function logConnection(log: Log, state: ConnectionState): void {
  const fields = { connection: state.name };
  switch (state.name) {
    case 'live':
      log.info({ ...fields, relay: state.wire.relay, epoch: state.epoch }, 'live');
      break;
    case 'lost':
      log.warn({ ...fields, why: state.why, retryInMs: state.retryInMs }, 'connection lost');
      break;
    case 'refused':
      log.error(
        { ...fields, errorId: state.error.id, why: state.error.message, help: state.error.help },
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
