import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Bundle, POLICY_BUNDLE, type Rule } from '@zerolatency/policy';
import { type Receipt, verifyReceipt } from '@zerolatency/receipts';
import { generateKeyPair, signDocument, signerFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import { readVerifiers } from '../../services/cli/src/audit/verify-receipt.ts';
import { probeAll } from '../../services/cli/src/commands/status.ts';
import { firstBundle } from '../../services/cli/src/installation/policy.ts';
import { writePublic } from '../../services/cli/src/installation/private-file.ts';
import { faultLine, faultsIn } from '../../services/cli/src/status/probe.ts';
import { editConfig, scriptModel } from './effects.ts';
import { type LogLine, logged, logMark } from './logs.ts';
import { runTurn, type System, startSystem, type Turn } from './system.ts';

const [allow] = firstBundle(0).rules as [Rule];
const DENY: Rule = { id: 'nobody-reads', effect: 'deny', tools: ['fs.*'] };

/** The two ends that decide, and their logs of bundles. */
const ENDS = { host: 'model-host', device: 'device-bridge' } as const;
type End = keyof typeof ENDS;

test('policy at both ends of a call', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, {
    async prepare(layout) {
      await scriptModel(layout);
      const bundleFile = join(layout.home, 'device-bundle.json');
      copyFileSync(layout.policy.bundle, bundleFile);
      await editConfig(layout.device.config, {
        policy: { bundleFile, keysDir: layout.policy.keys },
      });
    },
  });
  const { layout } = system;
  const files = { host: layout.policy.bundle, device: join(layout.home, 'device-bundle.json') };
  const signer = signerFromPem(readFileSync(layout.policy.key, 'utf8'));
  const bundleOf = (changes: Partial<Bundle>): Bundle => ({
    ...firstBundle(Date.now()),
    ...changes,
  });
  const envelopeOf = (changes: Partial<Bundle>) =>
    signDocument(POLICY_BUNDLE, bundleOf(changes), [signer]);

  /** Resolves once that end uses the bundle. */
  async function publish(end: End, changes: Partial<Bundle> & { version: number }): Promise<void> {
    const fits = ({ msg, version }: LogLine) =>
      msg === 'policy bundle installed' && version === changes.version;
    const mark = await logMark(system, ENDS[end]);
    await writePublic(files[end], await envelopeOf(changes));
    await logged(system, ENDS[end], { fits, mark });
  }

  await t.test(
    '[POL-01] [TOOL-04] [POL-06] a call that the host denies has its receipt in the ledger',
    async () => {
      await publish('host', { version: 2, rules: [allow, DENY] });
      const turn = await read(system);
      assert.deepEqual(callOf(turn).outcome, 'DENIED');
      assert.equal(callOf(turn).errorId, 'policy.denied');
      const { receipt, device } = await receiptOf(system, turn);
      assert.deepEqual(
        [receipt.outcome, receipt.errorId, receipt.policyId, receipt.tool, device],
        ['denied', 'policy.denied', 'local@2', 'fs.read', undefined],
      );
      const ofCall = (await recordsOf(system)).filter(({ body }) => body.callId === receipt.callId);
      assert.deepEqual(
        ofCall.map(({ kind }) => kind),
        ['policy.denied', 'call.receipt'],
      );
      assert.equal(ofCall[0]?.body.ruleId, 'nobody-reads');
      assert.deepEqual(ofCall[1]?.body.receipt, JSON.parse(callOf(turn).receiptJson));
      assert.equal((await system.zl('audit', 'verify', '--json')).status, 0);
      const log = await system.log('device-bridge');
      assert.ok(!log.includes(receipt.callId), 'the device heard of it');
    },
  );

  await t.test(
    '[POL-02] a bundle that is replaced decides at once, without a restart',
    async () => {
      await publish('host', { version: 3 });
      assert.equal(callOf(await read(system)).outcome, 'DONE');
    },
  );

  await t.test(
    '[POL-04] [TOOL-04] the device denies what the host allows, and signs the denial',
    async () => {
      await publish('device', { version: 7, rules: [allow, DENY] });
      const turn = await read(system);
      assert.equal(callOf(turn).outcome, 'DENIED');
      assert.equal(callOf(turn).errorId, 'policy.denied');
      const { receipt, device } = await receiptOf(system, turn);
      assert.deepEqual([receipt.outcome, receipt.policyId], ['denied', 'local@3']);
      assert.deepEqual([device?.outcome, device?.policyId], ['denied', 'local@7']);
      assert.doesNotMatch(turn.text, /Welcome to Zero Latency/);
    },
  );

  await t.test('[POL-01] [POL-04] the tighter cap holds, whoever set it', async () => {
    writeFileSync(join(layout.device.files, 'long.txt'), 'x'.repeat(20_000));
    await publish('device', { version: 8, rules: [{ ...allow, caps: { maxBytes: 9_000 } }] });
    const capped = await read(system, 'long.txt');
    const { truncated, length } = JSON.parse(callOf(capped).resultJson).structuredContent;
    assert.equal(truncated, true);
    assert.ok(length > 0 && length < 9_000);
  });

  await t.test(
    '[POL-02] [POL-04] an altered, unsigned, foreign or older bundle is refused, and the previous one stays',
    async () => {
      const foreign = signerFromPem(generateKeyPair().privatePem);
      const nowMs = Date.now();
      const past = { issuedAt: isoAt(nowMs - 7200_000), expiresAt: isoAt(nowMs - 3600_000) };
      const refused: Record<string, string> = {
        '0 good signatures': altered(await envelopeOf({ version: 90 })),
        'signed by 0 known keys': unsigned(await envelopeOf({ version: 92 })),
        'its version 1 is older than': await envelopeOf({ version: 1 }),
        'signed by 0 known': await signDocument(POLICY_BUNDLE, bundleOf({ version: 93 }), [
          foreign,
        ]),
        'it expired at': await envelopeOf({ version: 94, ...past }),
      };
      for (const [why, envelope] of Object.entries(refused)) {
        const marks = {
          host: await logMark(system, ENDS.host),
          device: await logMark(system, ENDS.device),
        };
        for (const end of ['host', 'device'] as const) await writePublic(files[end], envelope);
        for (const end of ['host', 'device'] as const) {
          const fits = ({ error_id }: LogLine) => error_id === 'policy.invalid';
          const { msg } = await logged(system, ENDS[end], { fits, mark: marks[end] });
          assert.ok(`${msg}`.includes(why), `${msg}`);
        }
        const turn = await read(system);
        const { receipt, device } = await receiptOf(system, turn);
        assert.deepEqual([receipt.policyId, device?.policyId], ['local@3', 'local@8'], why);
      }
    },
  );

  await t.test('[POL-02] when the bundle expires, tools are denied and chats go on', async () => {
    await publish('device', { version: 9 });
    // Long enough to be observed before it expires.
    const expiresAt = isoAt(Date.now() + 4_000);
    await publish('host', { version: 4, expiresAt });
    const denied = await eventually(
      async () => {
        const turn = await read(system);
        return callOf(turn).outcome === 'DENIED' ? turn : undefined;
      },
      { everyMs: 100 },
    );
    assert.equal(callOf(denied).errorId, 'policy.unavailable');
    await chatsOn(system);
    await publish('host', { version: 5 });
    assert.equal(callOf(await read(system)).outcome, 'DONE');
  });

  await t.test(
    '[POL-06] [AUD-01] the ledger records a bundle before the decisions made with it',
    async () => {
      const records = await recordsOf(system);
      const changes = records.filter(({ kind }) => kind === 'policy.changed');
      assert.deepEqual(
        changes.map(({ body }) => `${body.policyId} ${body.version} ${body.state}`),
        [
          'local@1 1 active',
          'local@2 2 active',
          'local@3 3 active',
          'local@4 4 active',
          'local@4 4 expired',
          'local@5 5 active',
        ],
      );
      const deciding = records.filter(({ kind }) =>
        ['call.intent', 'policy.denied'].includes(kind),
      );
      assert.ok(deciding.length > 5);
      for (const { kind, index, body } of deciding) {
        const by = changes.findLast((change) => change.index < index)?.body;
        const allows = kind === 'call.intent';
        assert.deepEqual([by?.policyId, by?.policyDigest], [body.policyId, body.policyDigest]);
        assert.ok(!allows || by?.state === 'active', `${kind} ${index} while ${by?.state}`);
      }
    },
  );

  await t.test(
    '[POL-02] [POL-04] after a restart an older bundle is refused at both ends',
    async () => {
      for (const service of ['model-host', 'device-bridge'] as const) await system.stop(service);
      await writePublic(files.host, await envelopeOf({ version: 4 }));
      await writePublic(files.device, await envelopeOf({ version: 8 }));
      for (const service of ['model-host', 'device-bridge'] as const) await system.start(service);
      // Both report this fault and no other.
      const older = 'policy bundle refused: its version';
      const wrong = [
        `policy is degraded: no bundle: tools are denied; ${older} 4 is older than 5`,
        '',
        `policy is none: ${older} 8 is older than 9`,
      ];
      const isSaid = (text: string, index: number) =>
        wrong[index] === '' ? text === '' : text.startsWith(wrong[index] ?? 'nothing');
      await eventually(async () => (await wrongWith(system)).every(isSaid), {
        timeoutMs: 20_000,
      });
      const byHost = await read(system);
      assert.equal(callOf(byHost).errorId, 'policy.unavailable');
      await chatsOn(system);
      await publish('host', { version: 6 });
      const byDevice = await read(system);
      assert.equal(callOf(byDevice).errorId, 'policy.unavailable');
      const { receipt, device } = await receiptOf(system, byDevice);
      assert.deepEqual([receipt.policyId, device?.outcome], ['local@6', 'denied']);
      assert.equal(device?.policyId, undefined);
      await publish('device', { version: 10 });
      assert.equal(callOf(await read(system)).outcome, 'DONE');
      const kinds = ['host.stopped', 'host.started', 'policy.changed'];
      const about = (await recordsOf(system)).filter(({ kind }) => kinds.includes(kind)).slice(-4);
      assert.deepEqual(
        about.map(({ kind, body }) => `${kind} ${body.reason ?? body.state ?? body.version}`),
        [
          'host.stopped SIGTERM',
          `host.started ${about[0]?.body.version}`,
          'policy.changed none',
          'policy.changed active',
        ],
      );
    },
  );

  await t.test(
    '[POL-01] [POL-04] [TOOL-04] a link inside the root leads around no rule, and both ends sign the denial',
    async () => {
      const { files: root, state } = layout.device;
      const secret = 'forty thousand a month';
      mkdirSync(join(root, 'salaries'));
      mkdirSync(join(root, 'pub'));
      writeFileSync(join(root, 'salaries', 'q3'), secret);
      writeFileSync(join(root, 'pub', 'q3'), 'public');
      symlinkSync('../salaries', join(root, 'pub', 'folder'));
      const paths = { argument: 'path', within: [join(root, 'salaries')] };
      const rules = [allow, { ...DENY, id: 'no-salaries', paths }];
      await publish('host', { version: 7, rules });
      await publish('device', { version: 11, rules });
      assert.equal(callOf(await read(system, 'pub/q3')).outcome, 'DONE');
      const asked = await read(system, 'salaries/q3');
      assert.equal((await receiptOf(system, asked)).device, undefined);
      const turn = await read(system, 'pub/folder/q3');
      const { receipt, device } = await receiptOf(system, turn);
      assert.deepEqual(
        [receipt.outcome, receipt.errorId, device?.outcome, device?.policyId],
        ['denied', 'policy.denied', 'denied', 'local@11'],
      );
      assert.match(callOf(turn).errorMessage, /no-salaries denies the file that was opened/);
      assert.equal((await system.zl('audit', 'verify', '--json')).status, 0);
      for (const dir of [state, layout.host.state]) {
        for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
          const path = join(dir, name);
          if (!statSync(path).isFile()) continue;
          assert.ok(!readFileSync(path).includes(secret), path);
        }
      }
    },
  );

  await t.test(
    '[POL-02] a host whose floor was removed accepts no bundle until it is reset',
    async () => {
      const floor = join(layout.host.state, 'policy-floor.json');
      await system.stop('model-host');
      rmSync(floor);
      await system.start('model-host');
      const isMissing = async () => {
        const [host = ''] = await wrongWith(system);
        return host.includes(`${floor} is missing, and was there before`);
      };
      await eventually(isMissing, { timeoutMs: 20_000, everyMs: 50 });
      assert.equal(callOf(await read(system)).errorId, 'policy.unavailable');
      await system.stop('model-host');
      writeFileSync(floor, '{"reset":true}');
      await system.start('model-host');
      await system.healthy();
      assert.equal(callOf(await read(system)).outcome, 'DONE');
    },
  );
});

interface Recorded {
  readonly index: number;
  readonly kind: string;
  readonly body: Readonly<Record<string, unknown>>;
}

async function recordsOf(system: System): Promise<Recorded[]> {
  const { stdout } = await system.zl('audit', 'show', '--json');
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
}

async function wrongWith({ settings }: System): Promise<string[]> {
  const probes = (await probeAll(settings)).filter(({ name }) => name !== 'registrar');
  return probes.map(({ report, error }) => error ?? faultsIn(report).map(faultLine).join('; '));
}

async function read(system: System, path = 'welcome.txt'): Promise<Turn> {
  const session = await system.chat();
  // The model calls it without an offer: denied tools are not shown to the model.
  const turn = await runTurn(session, `call fs.read ${JSON.stringify({ path })}`);
  session.close();
  return turn;
}

function callOf({ calls: [call] }: Turn): Turn['calls'][number] {
  assert.ok(call !== undefined, 'the turn called no tool');
  return call;
}

/** The receipts of host and device, verified with public keys only. */
async function receiptOf(
  { layout }: System,
  turn: Turn,
): Promise<{ receipt: Receipt; device?: Receipt }> {
  const [hostKeys, deviceKeys] = await Promise.all([
    readVerifiers(layout.receiptKeys.host),
    readVerifiers(layout.receiptKeys.device),
  ]);
  const { value, error } = verifyReceipt({
    envelope: callOf(turn).receiptJson,
    hostKeys,
    deviceKeys,
  });
  if (error !== undefined) throw error;
  return value;
}

async function chatsOn(system: System): Promise<void> {
  const turn = await runTurn(await system.chat(), 'hello');
  assert.deepEqual([turn.ending, turn.text], ['done', 'you said hello']);
}

function isoAt(ms: number): string {
  return new Date(ms).toISOString();
}

/** A signed bundle whose version was changed afterwards. */
function altered(envelope: string): string {
  const { payload, ...rest } = JSON.parse(envelope);
  const text = Buffer.from(payload, 'base64').toString('utf8');
  const other = text.replace('"version":90', '"version":91');
  assert.notEqual(other, text);
  return JSON.stringify({ ...rest, payload: Buffer.from(other).toString('base64') });
}

function unsigned(envelope: string): string {
  return JSON.stringify({ ...JSON.parse(envelope), signatures: [] });
}
