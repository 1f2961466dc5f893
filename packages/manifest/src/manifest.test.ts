import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOW, policyKey, signed } from '@zerolatency/policy/testing';
import { digestOf, signDocument, signerFromPem, verifyDocument } from '@zerolatency/signing';
import { makeKey } from '@zerolatency/testing';
import { type CommandServer, type Manifest, SERVER_MANIFEST, serversOf } from './index.ts';

const keys = [policyKey.publicPem];
const HASH = 'ab'.repeat(32);

function server(changes: Partial<CommandServer> = {}): CommandServer {
  return {
    name: 'fs',
    command: '/usr/bin/node',
    sha256: HASH,
    files: [{ path: '/opt/zl/fs.js', sha256: HASH }],
    args: ['/opt/zl/fs.js', '--root', '/data'],
    env: { allow: ['PATH'], set: { LANG: 'C' } },
    cwd: '/',
    effects: { read: 'none' },
    limits: { maxConcurrentCalls: 4 },
    ...changes,
  };
}

function manifest(changes: Partial<Manifest> = {}): Manifest {
  return {
    schema: 'zerolatency.manifest/v3',
    id: 'laptops',
    version: 1,
    issuedAt: new Date(NOW).toISOString(),
    servers: [server()],
    ...changes,
  };
}

function sign(changes: Partial<Manifest> = {}, key = policyKey): Promise<string> {
  return signDocument(SERVER_MANIFEST, manifest(changes), [signerFromPem(key.privatePem)]);
}

function fault(envelopeText: string, rules: Partial<Parameters<typeof verifyDocument>[2]> = {}) {
  const verified = verifyDocument(SERVER_MANIFEST, envelopeText, { keys, nowMs: NOW, ...rules });
  assert.ok('error' in verified, 'the manifest was accepted');
  assert.equal(verified.error.id, 'manifest.invalid');
  return verified.error.message;
}

test('[BRG-02] a signed manifest is verified and identified by the digest of its content', async () => {
  const verified = verifyDocument(SERVER_MANIFEST, await sign(), { keys, nowMs: NOW });
  assert.ok('content' in verified);
  assert.deepEqual(verified.content, manifest());
  assert.equal(verified.digest, digestOf(manifest()));
});

test('[BRG-02] a manifest that is unsigned, of another key or altered is refused', async () => {
  const envelope: { payload: string } = JSON.parse(await sign());
  fault(JSON.stringify({ ...envelope, signatures: [] }));
  fault(await sign({}, makeKey()));
  const text = Buffer.from(envelope.payload, 'base64').toString();
  const altered = Buffer.from(text.replace('/usr/bin/node', '/tmp/evil')).toString('base64');
  fault(JSON.stringify({ ...envelope, payload: altered }));
});

test('a policy bundle is not a manifest, whoever signed it', async () => {
  fault(await signed());
});

test('a manifest from the future and an older one are refused', async () => {
  assert.match(fault(await sign(), { nowMs: NOW - 3_600_000 }), /in the future/);
  const floor = { id: 'laptops', version: 2, digest: 'sha256:00' };
  assert.match(fault(await sign(), { floor }), /1 is older than 2/);
});

test('a manifest contains only what a bridge can enforce', async () => {
  const bad: [Partial<CommandServer>, RegExp][] = [
    [{ command: 'node' }, /command/],
    [{ command: './node' }, /command/],
    [{ command: '/usr/../tmp/node' }, /not a plain absolute path/],
    [{ cwd: '/a/..' }, /not a plain absolute path/],
    [{ files: [{ path: '/a/../b', sha256: HASH }] }, /not a plain absolute path/],
    [{ sha256: HASH.toUpperCase() }, /sha256/],
    [{ name: 'fs.read' }, /name/],
    [{ args: ['a\0b'] }, /NUL/],
    [{ env: { allow: [], set: { A: 'a\0b' } } }, /NUL/],
    [{ env: { allow: ['A=B'], set: {} } }, /env/],
    [{ env: { allow: [], set: { 'A B': '' } } }, /env/],
  ];
  for (const [changes, pattern] of bad) {
    await assert.rejects(sign({ servers: [server(changes)] }), pattern, JSON.stringify(changes));
  }
  await assert.rejects(sign({ servers: [server(), server()] }), /two servers are named fs/);
  await assert.rejects(sign({ issuedAt: '2030-13-01T00:00:00Z' }), /not a date/);
});

test('[BRG-02] a built-in server has typed settings and no command', async () => {
  const builtin = { name: 'fs', builtin: 'fs', settings: { roots: ['/data'] } } as const;
  await sign({ servers: [builtin] });
  const bad: [object, RegExp][] = [
    [{ settings: { roots: [] } }, /roots/],
    [{ settings: { roots: ['/a/../b'] } }, /not a plain absolute path/],
    [{ settings: { roots: ['/data'], rootz: [] } }, /rootz/],
    [{ builtin: 'shell' }, /builtin/],
    [{ command: '/usr/bin/node' }, /servers/],
  ];
  for (const [changes, pattern] of bad) {
    const servers = [{ ...builtin, ...changes }];
    await assert.rejects(sign({ servers }), pattern, JSON.stringify(changes));
  }
});

test('[BRG-02] a manifest grants a sandbox the whole network or none of it', async () => {
  const hosts = { network: ['example.com'] };
  const refused = /server fs: grants.network: a sandbox cannot restrict hosts/;
  await assert.rejects(sign({ servers: [server({ grants: hosts })] }), refused);
  await assert.rejects(
    sign({ servers: [server({ sandbox: 'required', grants: hosts })] }),
    refused,
  );
  await sign({ servers: [server({ sandbox: 'none', grants: hosts })] });
  await sign({ servers: [server({ sandbox: 'required', grants: { network: ['*'] } })] });
  const odd = { read: ['/a/../b'] };
  await assert.rejects(sign({ servers: [server({ grants: odd })] }), /not a plain absolute path/);
});

test('[BRG-02] a manifest signed before sandboxes means what it meant', async () => {
  const schema = 'zerolatency.manifest/v2';
  const grants = { network: ['example.com'] };
  const fs = { name: 'files', builtin: 'fs', settings: { roots: ['/data'] } } as const;
  const required = server({ name: 'held', sandbox: 'required' });
  const signed = await sign({ schema, servers: [server({ grants }), { ...fs, grants }, required] });
  const verified = verifyDocument(SERVER_MANIFEST, signed, { keys, nowMs: NOW });
  assert.ok('content' in verified);
  assert.deepEqual(serversOf(verified.content), [
    server({ grants, sandbox: 'none', unpinned: true }),
    fs,
    { ...required, unpinned: true },
  ]);
  assert.deepEqual(serversOf(manifest()), [server()]);
});

test('[BRG-02] a manifest of version 2 has no field of version 3', async () => {
  const later = [
    { unpinned: true },
    { limits: { maxMemoryBytes: 2 ** 30 } },
    { limits: { maxProcesses: 8 } },
  ] as const;
  for (const changes of later) {
    const servers = [server(changes)];
    await sign({ servers });
    const old = sign({ schema: 'zerolatency.manifest/v2', servers });
    await assert.rejects(old, /server fs: .* need the schema zerolatency.manifest\/v3/);
  }
});
