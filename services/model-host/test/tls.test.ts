import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { eventually } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';

async function serialOf(url: string, ca: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket: TLSSocket = connect({
    host: hostname,
    port: Number(port),
    ca,
    ALPNProtocols: ['h2'],
  });
  await new Promise((resolve, reject) =>
    socket.once('secureConnect', resolve).once('error', reject),
  );
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

test('[OPS-05] a new certificate is served without a restart, and open connections go on', async (t) => {
  const host = await startTestHost(t);
  const before = await serialOf(host.addresses.rpc, host.ca);
  const session = connectHttp2(host.addresses.rpc, { ca: host.ca });
  t.after(() => session.destroy());
  await new Promise((resolve) => session.once('connect', resolve));
  const renewed = await host.authority.server('model-host');
  copyFileSync(renewed.certFile, host.tls.certFile);
  copyFileSync(renewed.keyFile, host.tls.keyFile);
  await eventually(async () => (await serialOf(host.addresses.rpc, host.ca)) !== before);
  assert.equal(session.destroyed, false);
});

test('[OPS-05] the port answers nothing without TLS', async (t) => {
  const host = await startTestHost(t);
  await assert.rejects(fetch(host.addresses.rpc.replace('https', 'http')));
});
