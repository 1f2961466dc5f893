import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Metadata, status } from '@grpc/grpc-js';
import { fromConnectError } from '@zerolatency/service/rpc';
import { decodeJwt, decodeProtectedHeader, SignJWT, UnsecuredJWT } from 'jose';
import { ChatStream } from '../../services/cli/src/chat/session.ts';
import { chatTarget } from '../../services/cli/src/commands/chat.ts';
import { layoutOf } from '../../services/cli/src/installation/layout.ts';
import { curlStream } from './curl.ts';
import { scriptModel } from './effects.ts';
import { grpcClient, healthCheck, reflectionInfo, streamChat } from './grpc-client.ts';
import { runTurn, startSystem } from './system.ts';

interface Answer {
  readonly event: {
    readonly firstSequence: string;
    readonly sequence: string;
    readonly event: string;
    readonly assistantDelta?: { readonly text: string };
    readonly toolCallDone?: { readonly outcome: string };
  };
}

test('clients that share no code with the host', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, { prepare: scriptModel });
  const { layout, settings } = system;
  const { token, ca, deviceId } = await chatTarget(settings, {});
  const chatUrl = `${settings.host.url}/zerolatency.agent.v1.AgentService/Chat`;
  const client = grpcClient(settings.host.url, { ca });
  t.after(() => client.close());

  await t.test('[HOST-01] reflection lists the services over TLS, in both versions', async () => {
    for (const version of ['v1', 'v1alpha'] as const) {
      const [list, file] = await client.ask<Record<string, unknown>>(reflectionInfo(version), [
        { listServices: '*' },
        { fileContainingSymbol: 'zerolatency.agent.v1.AgentService' },
      ]);
      const { service } = list!.listServicesResponse as { service: { name: string }[] };
      assert.deepEqual(service.map(({ name }) => name).sort(), [
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
        'zerolatency.agent.v1.AgentService',
      ]);
      assert.equal(file?.messageResponse, 'fileDescriptorResponse');
    }
  });

  await t.test('[HOST-01] [HOST-13] health says SERVING over TLS', async () => {
    for (const service of ['', 'zerolatency.agent.v1.AgentService']) {
      assert.deepEqual(await client.ask(healthCheck(), [{ service }]), [{ status: 'SERVING' }]);
    }
  });

  await t.test('[OPS-05] [RLY-04] the relay answers only certificates it knows', async () => {
    const { url, certFile, keyFile } = settings.relay;
    const pair = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
    const operator = grpcClient(url, { ca, ...pair });
    const nobody = grpcClient(url, { ca });
    t.after(() => {
      for (const each of [operator, nobody]) each.close();
    });
    assert.deepEqual(await operator.ask(healthCheck(), [{ service: '' }]), [{ status: 'SERVING' }]);
    await assert.rejects(nobody.ask(healthCheck(), [{ service: '' }]), {
      code: status.UNAVAILABLE,
    });
  });

  await t.test(
    '[HOST-01] [BRG-03] gRPC streams a chat that reads a file on the device',
    async () => {
      const start = { text: 'read welcome.txt', deviceId };
      const answers = await client.ask<Answer>(streamChat, [{ start }], token);
      const events = answers.map(({ event }) => event);
      assert.deepEqual(
        events.map(({ firstSequence }) => firstSequence),
        ['1', ...events.slice(0, -1).map(({ sequence }) => String(Number(sequence) + 1))],
      );
      assert.match(
        events.map((event) => event.assistantDelta?.text ?? '').join(''),
        /Welcome to Zero Latency/,
      );
      assert.equal(
        events.find(({ event }) => event === 'toolCallDone')?.toolCallDone?.outcome,
        'CALL_OUTCOME_DONE',
      );
      assert.equal(events.at(-1)?.event, 'assistantDone');
    },
  );

  await t.test('[HOST-01] curl streams the same chat as JSON', async () => {
    const body = { start: { text: 'read welcome.txt', deviceId } };
    const messages = await curlStream(layout, { url: chatUrl, token, body });
    const told = JSON.stringify(messages);
    assert.match(told, /CALL_OUTCOME_DONE/);
    assert.match(told, /Welcome to Zero Latency/);
    assert.match(JSON.stringify(messages.at(-2)), /"assistantDone"/);
    assert.deepEqual(messages.at(-1), {});
  });

  await t.test(
    '[HOST-11] [HOST-14] only a valid token gets a turn, and a refusal carries its error id',
    async () => {
      for (const [attack, [bad, id]] of Object.entries(await attacks(token))) {
        const sent = client.ask(streamChat, [{ start: { text: 'hello' } }], bad);
        await assert.rejects(
          sent,
          (error: { code: number; metadata: Metadata }) => {
            assert.equal(error.code, status.UNAUTHENTICATED, attack);
            const [details] = error.metadata.get('grpc-status-details-bin');
            return String(details).includes(id);
          },
          attack,
        );
        const request = { url: chatUrl, body: { start: { text: 'hello' } } };
        const curled = { ...request, ...(bad === undefined ? {} : { token: bad }) };
        const told = JSON.stringify(await curlStream(layout, curled));
        assert.match(told, /"code":"unauthenticated"/, attack);
        assert.ok(told.includes(`"id":"${id}"`), `${attack}: ${told}`);
      }
    },
  );

  await t.test('[HOST-11] a tenant in body or headers changes nothing', async () => {
    const body = { start: { text: 'hello', tenant: 'other', sessionId: 'claims' } };
    const headers = ['x-tenant: other', 'tenant: other'];
    const messages = await curlStream(layout, { url: chatUrl, token, body, headers });
    const { stdout } = await system.zl('audit', 'show', '--json');
    const turns = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
    const claimed = turns.filter(({ body: { sessionId } }) => sessionId === 'claims');
    // An unknown field is refused or ignored.
    const isRefused = JSON.stringify(messages).includes('"invalid_argument"');
    assert.equal(claimed.length, isRefused ? 0 : 1);
    assert.deepEqual(
      claimed.filter(({ body: { tenant } }) => tenant !== 'local'),
      [],
    );
  });

  await t.test(
    '[HOST-11] [RLY-04] another tenant neither reaches nor sees the device',
    async () => {
      const other = { ...settings.identity, tenant: 'other' };
      const target = await chatTarget({ ...settings, identity: other }, {});
      const session = new ChatStream(target);
      t.after(() => session.close());
      const ending = await runTurn(session, 'read welcome.txt').then(
        (turn) => turn.ending,
        (reason) => fromConnectError(reason).id,
      );
      assert.match(ending, /^device\.(unknown|offline)$/);
      const home = layoutOf(join(layout.home, 'other'));
      mkdirSync(home.home);
      writeFileSync(home.settings, JSON.stringify({ ...settings, identity: other }));
      const { stdout, status: exit } = await system.zl('--home', home.home, 'devices', '--json');
      assert.deepEqual([exit, JSON.parse(stdout)], [0, { devices: [] }]);
    },
  );

  async function attacks(good: string): Promise<Record<string, [string | undefined, string]>> {
    const claims = decodeJwt(good);
    const kid = `${decodeProtectedHeader(good).kid}`;
    const own = createPrivateKey(readFileSync(layout.tokens.key, 'utf8'));
    const { privateKey: foreign } = generateKeyPairSync('ed25519');
    const sign = (key: KeyObject, changed: object) =>
      new SignJWT({ ...claims, ...changed }).setProtectedHeader({ alg: 'EdDSA', kid }).sign(key);
    const [head, body] = good.split('.');
    const hourAgoS = Math.floor(Date.now() / 1000) - 3600;
    return {
      'no token': [undefined, 'identity.missing'],
      'a token signed with another key': [await sign(foreign, {}), 'identity.invalid'],
      'a token without its signature': [`${head}.${body}.`, 'identity.invalid'],
      'alg none': [new UnsecuredJWT(claims).encode(), 'identity.invalid'],
      'an expired token': [await sign(own, { exp: hourAgoS }), 'identity.invalid'],
      'another audience': [await sign(own, { aud: 'billing' }), 'identity.invalid'],
      'another issuer': [await sign(own, { iss: 'https://me.invalid' }), 'identity.invalid'],
    };
  }
});
