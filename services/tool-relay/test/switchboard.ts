import { create, toBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { OpenSchema } from '@zerolatency/proto/link';
import { type FrameFields, frameBytes } from '@zerolatency/testing';
import { HostLink } from '../src/routing/host-link.ts';
import { LiveDevice } from '../src/routing/live-device.ts';
import { LiveDevices } from '../src/routing/live-devices.ts';
import { InMemorySocket } from './in-memory-socket.ts';
import { leaseOf, sharedParts } from './parts.ts';

export const ADDRESSES = [
  { tenant: 'north', deviceId: 'laptop' },
  { tenant: 'north', deviceId: 'desktop' },
  { tenant: 'south', deviceId: 'laptop' },
] as const;

export const callIds = Array.from({ length: 3 }, (_, index) => new Uint8Array(16).fill(index + 1));

export function frameBuffer(fields: FrameFields): Buffer {
  return Buffer.from(frameBytes(fields));
}

/** Links and devices over sockets in memory. */
export function switchboard(settings: Record<string, unknown> = {}, hosts = ['host', 'host']) {
  const parts = sharedParts(settings);
  const { config, clock, metrics, backlog } = parts;
  const devices = new LiveDevices(config.tenants, clock.monotonicMs);
  const gone: HostLink[] = [];
  const world = { isDraining: false };
  const links = hosts.map((host) => {
    const socket = new InMemorySocket();
    const context = { ...parts, limits: config.links, devices, isDraining: () => world.isDraining };
    const link = new HostLink(host, context, { onGone: (link) => gone.push(link) });
    link.onOpen(socket);
    return { link, socket };
  });
  let lastEpoch = 0;
  const connect = (index: number, deviceFeatures: readonly string[] = []) => {
    lastEpoch += 1;
    const socket = new InMemorySocket();
    const lease = leaseOf({ ...ADDRESSES[index]!, epoch: lastEpoch });
    const tenant = devices.usageOf(lease.tenant);
    const cuts: string[] = [];
    const device = new LiveDevice({
      lease,
      socket,
      tenant,
      metrics,
      backlog,
      limits: config.devices,
      session: { cut: (reason) => cuts.push(reason) },
      opened: {
        epoch: lastEpoch,
        journalId: new Uint8Array(16),
        credential: `${lease.tenant}/${lease.deviceId}`,
        catalog: new Uint8Array(),
        deviceFeatures,
      },
    });
    devices.put(device, tenant);
    return { device, socket, tenant, cuts };
  };
  return Object.assign(world, { ...parts, devices, links, connect, gone });
}

/** A host that has opened a device. */
export function oneCall(settings: Record<string, unknown> = {}) {
  const board = switchboard(settings);
  const { device, socket, cuts } = board.connect(0);
  const { link, socket: hostSocket } = board.links[0]!;
  const payload = toBinary(OpenSchema, create(OpenSchema, ADDRESSES[0]));
  link.onMessage(frameBuffer({ kind: FrameKind.OPEN, device: 1, payload }));
  const call = (index: number) => {
    const { epoch } = device;
    const callId = callIds[index]!;
    link.onMessage(frameBuffer({ kind: FrameKind.CALL, device: 1, epoch, callId }));
  };
  return Object.assign(board, { device, socket, cuts, link, hostSocket, call });
}
