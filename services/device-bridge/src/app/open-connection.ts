import type { SqliteJournal } from '../adapters/sqlite/journal.ts';
import { wsDial } from '../adapters/ws/dial.ts';
import type { DeviceCalls } from '../calls/device-calls.ts';
import type { BridgeConfig } from '../config.ts';
import { Connection } from '../connection/connection.ts';
import type { ConnectionListener } from '../connection/state.ts';
import type { BridgeMetrics } from '../metrics.ts';
import type { Log } from '../ports.ts';
import type { Supervisor } from '../servers/supervisor.ts';
import { clock } from './clock.ts';
import { logConnection } from './connection-log.ts';
import { type OpenedDevice, watchTrust } from './open-device.ts';

interface Parts {
  readonly log: Log;
  readonly metrics: BridgeMetrics;
  readonly journal: SqliteJournal;
  readonly device: OpenedDevice;
  readonly calls: DeviceCalls;
  readonly servers: Supervisor;
  readonly bridgeVersion: string;
  readonly onLive: () => void;
}

/** A connection that has not been started, and how to end it. */
export async function openConnection(config: BridgeConfig, parts: Parts) {
  const { log, journal, device, servers, bridgeVersion } = parts;
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
