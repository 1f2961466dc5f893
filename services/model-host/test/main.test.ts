import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { type ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import {
  checkConsistency,
  checkInclusion,
  type LedgerRecord,
  parseProof,
  proveConsistency,
  proveInclusion,
  type RecordBodies,
  readLedger,
  verifyLedger,
} from '@zerolatency/ledger';
import { AgentService } from '@zerolatency/proto/agent';
import { ErrorSchema } from '@zerolatency/proto/errors';
import { generateKeyPair, verifierFromPem } from '@zerolatency/signing';
import { makeAuthority, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { errorIdOf, eventsOf, namesOf, only, start } from './support/streams.ts';

const main = join(import.meta.dirname, '../src/main.ts');

async function installation(t: TestContext) {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const issuer = await makeTokenIssuer(dir);
  const key = generateKeyPair();
  writeFileSync(join(dir, 'key.pem'), key.privatePem);
  const configFile = join(dir, 'host.yaml');
  const { jwksFile, issuer: iss, audience } = issuer;
  const config = {
    rpc: { port: 0, tls: { certFile, keyFile, caFile } },
    admin: { port: 0 },
    identity: { jwksFile, issuer: iss, audience },
    ledger: { dir: join(dir, 'ledger'), key: { file: join(dir, 'key.pem') } },
    providers: { mock: { scriptFile: join(dir, 'script.yaml') } },
    drain: { deadline: '200ms' },
    log: { level: 'warn' },
  };
  // JSON is YAML.
  writeFileSync(configFile, JSON.stringify(config));
  writeFileSync(
    join(dir, 'script.yaml'),
    `schema: zerolatency.mock-script/v1
rules:
- when: { text: hang }
  reply: [{ text: thinking }, { hang: true }]
- reply: [{ text: hello }]`,
  );
  return { dir, configFile, key, issuer, ca: authority.ca };
}

function run(t: TestContext, ...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function ready(child: ChildProcess): Promise<{ rpc: string; admin: string }> {
  for await (const line of createInterface({ input: child.stdout! })) {
    const { event, ...addresses } = JSON.parse(line);
    if (event === 'ready') return addresses;
  }
  throw new Error('it ended before it was ready');
}

test('[HOST-14] errors point to the page that the configuration names', async (t) => {
  const { configFile, ca } = await installation(t);
  const page = 'https://docs.example.com/errors';
  const child = run(t, '--config', configFile, '--set', `errors.catalogueUrl=${page}`);
  const { rpc } = await ready(child);
  const client = createClient(
    AgentService,
    createGrpcTransport({ baseUrl: rpc, nodeOptions: { ca } }),
  );
  await assert.rejects(
    client
      .chat({ start: { text: 'hi' } })
      [Symbol.asyncIterator]()
      .next(),
    (error: ConnectError) => {
      assert.equal(error.findDetails(ErrorSchema)[0]?.docs, `${page}#identitymissing`);
      return true;
    },
  );
});

test('[HOST-10] [AUD-01] [AUD-02] the process takes a turn, and at SIGTERM ends what runs, closes the ledger and exits 0', async (t) => {
  const { dir, configFile, key, issuer, ca } = await installation(t);
  const child = run(t, '--config', configFile);
  const exited = once(child, 'exit');
  const { rpc, admin } = await ready(child);
  assert.equal((await fetch(`${admin}/readyz`)).status, 200);
  const token = await issuer.token();
  const client = createClient(
    AgentService,
    createGrpcTransport({ baseUrl: rpc, nodeOptions: { ca } }),
  );
  const headers = { authorization: `Bearer ${token}` };
  const events = await eventsOf(client.streamChat(only(start({ text: 'hello' })), { headers }));
  assert.equal(namesOf(events).at(-1), 'assistantDone');
  const hanging = client
    .streamChat(only(start({ text: 'hang' })), { headers })
    [Symbol.asyncIterator]();
  const first = await hanging.next();
  child.kill('SIGTERM');
  const rest = await eventsOf({ [Symbol.asyncIterator]: () => hanging });
  assert.equal(first.value?.event?.event.case, 'assistantDelta');
  assert.equal(errorIdOf(rest), 'server.draining');
  assert.deepEqual(await exited, [0, null]);
  const report = await verifyLedger(join(dir, 'ledger'), {
    keys: [verifierFromPem(key.publicPem)],
  });
  assert.equal(report.ok, true, JSON.stringify(report));
  const records: LedgerRecord[] = [];
  for await (const { record } of readLedger(join(dir, 'ledger'))) records.push(record);
  assert.deepEqual(
    records.map(({ kind }) => kind),
    ['ledger.opened', 'host.started', 'policy.changed', 'turn', 'turn', 'host.stopped'],
  );
  const [, started, policy] = records;
  const { version, configDigest } = started!.body as RecordBodies['host.started'];
  assert.match(configDigest!, /^sha256:/);
  assert.deepEqual(policy!.body, { state: 'none' });
  assert.deepEqual(records.at(-1)!.body, { version, configDigest, reason: 'SIGTERM' });
});

test('[AUD-04] the end of a turn and the admin port carry a checkpoint that covers its record', async (t) => {
  const { dir, configFile, key, issuer, ca } = await installation(t);
  const kept = join(dir, 'kept');
  mkdirSync(kept);
  const child = run(t, '--config', configFile, '--set', `ledger.export.to=${kept}`);
  const exited = once(child, 'exit');
  const { rpc, admin } = await ready(child);
  const transport = createGrpcTransport({ baseUrl: rpc, nodeOptions: { ca } });
  const headers = { authorization: `Bearer ${await issuer.token()}` };
  const chat = createClient(AgentService, transport);
  const events = await eventsOf(chat.streamChat(only(start({ text: 'hello' })), { headers }));
  const done = events.at(-1)?.event;
  assert.ok(done?.case === 'assistantDone');
  const { auditId, checkpoint } = done.value;
  const page = await fetch(`${admin}/checkpoint`);
  const health = await (await fetch(`${admin}/health`)).text();
  assert.match(health, /"name":"checkpoint export","status":"ok"/);
  assert.deepEqual([page.status, await page.text()], [200, checkpoint]);
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);

  const keys = [verifierFromPem(key.publicPem)];
  const ledgerDir = join(dir, 'ledger');
  const [last = ''] = readdirSync(kept).sort().reverse();
  const newest = readFileSync(join(ledgerDir, 'checkpoint'), 'utf8');
  assert.equal(readFileSync(join(kept, last), 'utf8'), newest, 'what it was closed with');
  const ofTurn = parseProof(await proveInclusion(ledgerDir, { leafHash: auditId }, checkpoint));
  assert.equal(ofTurn?.kind, 'inclusion');
  const { value: covered } = checkInclusion(ofTurn, {
    leafHash: Buffer.from(auditId, 'hex'),
    keys,
  });
  assert.ok(covered !== undefined);
  const later = parseProof(await proveConsistency(ledgerDir, checkpoint));
  assert.equal(later?.kind, 'consistency');
  assert.ok(checkConsistency(later, { earlier: covered, keys }).value!.size > covered.size);
});

test('[OPS-02] an invalid configuration ends the process with an error that names it', async (t) => {
  const { configFile } = await installation(t);
  const child = run(t, '--config', configFile, '--set', 'turn.maxSteps=many');
  let told = '';
  child.stderr?.on('data', (chunk) => {
    told += chunk;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 1);
  assert.match(told, /config\.invalid.*turn\.maxSteps/s);
});

test('[OPS-02] prints the effective configuration with references instead of secrets', async (t) => {
  const { configFile } = await installation(t);
  const child = run(t, '--config', configFile, '--print-config');
  let told = '';
  child.stdout?.on('data', (chunk) => {
    told += chunk;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
  assert.match(told, /maxSteps: 8/);
  assert.match(told, /key\.pem/);
  assert.doesNotMatch(told, /PRIVATE KEY/);
});
