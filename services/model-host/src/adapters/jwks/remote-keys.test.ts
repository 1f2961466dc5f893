import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { verifyAccessToken } from '@zerolatency/identity';
import { Egress } from '@zerolatency/service/egress';
import { eventually, makeKey, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { SignJWT } from 'jose';
import {
  json,
  jwks,
  type KeyServer,
  LOOPBACK,
  openRemote,
  startKeyServer,
} from '../../../test/support/key-server.ts';
import { RemoteKeys } from './remote-keys.ts';

const QUICK = { minMs: 40, maxMs: 40, maxAgeMs: 60_000 };

function hasId(id: string, message = /./) {
  return (error: ZlError) => error.id === id && message.test(error.message);
}

/** Keys that are read only when asked, with a clock of the test's own. */
async function openKeys(t: TestContext, { origin, caFile }: KeyServer) {
  const clock = { nowMs: 0 };
  const keys = new RemoteKeys({
    source: { url: new URL(`${origin}/keys`), discovers: undefined, caFile },
    egress: new Egress(LOOPBACK),
    refresh: { minMs: 60_000, maxMs: 60_000, maxAgeMs: 3_600_000 },
    onRead() {},
    log: { info() {}, warn() {} },
    nowMs: () => clock.nowMs,
  });
  t.after(() => keys.close());
  await keys.check();
  return { keys, clock };
}

test('[HOST-11] a key that is not known yet is looked for at the issuer, once in ten seconds', async (t) => {
  const [first, second] = [await makeTokenIssuer(tempDir(t)), await makeTokenIssuer(tempDir(t))];
  const server = await startKeyServer(t, json(jwks(first)));
  const { keys, clock } = await openKeys(t, server);
  server.answer = json(jwks(first, second));
  clock.nowMs += 9_999;
  assert.equal(await keys.checkForNew(), false);
  assert.equal(keys.ring()?.size, 1);
  clock.nowMs += 1;
  assert.deepEqual(await Promise.all([keys.checkForNew(), keys.checkForNew()]), [true, true]);
  assert.equal(keys.ring()?.size, 2);
  assert.equal(server.asked.length, 2);
});

test('[HOST-11] a flood of unknown key ids asks the issuer once', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const server = await startKeyServer(t, json(jwks(issuer)));
  const { verifier } = await openRemote(t, server);
  const strangers = Array.from({ length: 200 }, () => makeKey());
  const tokens = await Promise.all(
    strangers.map((key) =>
      new SignJWT(issuer.claims())
        .setProtectedHeader({ alg: 'EdDSA', kid: key.kid })
        .sign(key.privateKey),
    ),
  );
  for (const token of tokens)
    await assert.rejects(verifier.verify(token), hasId('identity.invalid'));
  await Promise.all(
    tokens.map((token) => assert.rejects(verifier.verify(token), hasId('identity.invalid'))),
  );
  assert.ok(server.asked.length <= 2, `asked ${server.asked.length} times`);
});

test('[HOST-11] a withdrawn key aborts what it proved, and another key does not', async (t) => {
  const [leaves, stays] = [await makeTokenIssuer(tempDir(t)), await makeTokenIssuer(tempDir(t))];
  const server = await startKeyServer(t, json(jwks(leaves, stays)));
  const { verifier, logged } = await openRemote(t, server, { refresh: QUICK });
  const token = await leaves.token();
  const { withdrawn } = await verifier.verify(token);
  const other = await verifier.verify(await stays.token());
  server.answer = json(jwks(stays));
  await eventually(() => withdrawn?.aborted);
  assert.ok(hasId('identity.invalid', /withdrawn/)(withdrawn?.reason));
  await assert.rejects(verifier.verify(token), hasId('identity.invalid'));
  assert.equal(other.withdrawn?.aborted, false);
  assert.ok(logged.includes('the issuer has withdrawn keys'));
});

test('[HOST-11] while the URL cannot be read the last keys stay in force, until they are too old', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const server = await startKeyServer(t, json(jwks(issuer)));
  const { keys, clock } = await openKeys(t, server);
  const verified = await verifyAccessToken(await issuer.token(), keys.ring()!.select, {
    ...{ issuer: issuer.issuer, audience: issuer.audience, nowMs: Date.now() },
  });
  const withdrawal = await keys.ring()!.withdrawalOf(verified.key!);
  server.answer = (response) => response.destroy();
  await keys.check();
  clock.nowMs = 3_599_999;
  assert.equal(keys.ring()?.size, 1);
  assert.equal(keys.status().status, 'degraded');
  assert.equal(withdrawal.aborted, false);
  clock.nowMs = 3_600_000;
  assert.equal(keys.ring(), undefined);
  assert.equal(keys.status().status, 'down');
  assert.ok(hasId('identity.unavailable')(withdrawal.reason));
  server.answer = json(jwks(issuer));
  await keys.check();
  assert.equal(keys.status().status, 'ok');
});

test('[HOST-11] Cache-Control sets when the keys are read again, within the bounds', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const asks = async (
    control: string,
    refresh = { minMs: 50, maxMs: 60_000, maxAgeMs: 60_000 },
  ) => {
    const server = await startKeyServer(t, json(jwks(issuer), { 'cache-control': control }));
    const { verifier } = await openRemote(t, server, { refresh });
    return { server, verifier };
  };
  const long = await asks('public, max-age=3600');
  const bounded = await asks('max-age=3600', QUICK);
  const none = await asks('no-store');
  await eventually(() => none.server.asked.length >= 3 && bounded.server.asked.length >= 3);
  assert.equal(long.server.asked.length, 1);
});

test('[HOST-11] discovery reads the key set of exactly this issuer', async (t) => {
  const server = await startKeyServer(t, () => {});
  const issuerUrl = `${server.origin}/realms/main`;
  const issuer = await makeTokenIssuer(tempDir(t), { issuer: issuerUrl });
  const path = '/realms/main/.well-known/openid-configuration';
  const serve = (document: object) => {
    server.answer = (response, request) =>
      json(request.url === path ? document : jwks(issuer))(response, request);
  };
  const open = () => {
    const keys = {
      url: new URL(`${server.origin}${path}`),
      discovers: issuerUrl,
      caFile: server.caFile,
    };
    return openRemote(t, server, { rules: { issuer: issuerUrl, keys } });
  };
  serve({ issuer: issuerUrl, jwks_uri: `${server.origin}/certs` });
  const { verifier } = await open();
  assert.ok(await verifier.verify(await issuer.token()));
  await assert.rejects(
    verifier.verify(await issuer.token({ claims: { iss: `${issuerUrl}/` } })),
    hasId('identity.invalid', /"iss"/),
  );
  assert.deepEqual(server.asked, [path, '/certs']);
  for (const [document, why] of [
    [{ issuer: `${issuerUrl}/`, jwks_uri: `${server.origin}/certs` }, /is of issuer/],
    [{ issuer: issuerUrl, jwks_uri: server.origin.replace('https', 'http') }, /not an https/],
    [{ issuer: issuerUrl, jwks_uri: 'https://169.254.169.254/keys' }, /not a public address/],
    [[], /is of issuer/],
  ] as const) {
    serve(document);
    const { verifier: refusing } = await open();
    assert.match(refusing.status().detail ?? '', why);
    assert.equal(refusing.status().status, 'down');
  }
});

interface Attack {
  readonly answer: KeyServer['answer'];
  readonly why: RegExp;
  readonly id?: string;
}

const CHUNK = Buffer.alloc(1024 * 1024, ' ');

const ATTACKS: Record<string, Attack> = {
  'redirects to a private address': {
    answer: (response) => response.writeHead(302, { location: 'https://10.0.0.1/' }).end(),
    why: /redirect, which is not followed/,
  },
  'sends a gigabyte': {
    answer: (response) => {
      const send = () => {
        while (!response.destroyed && response.write(CHUNK));
        if (!response.destroyed) response.once('drain', send);
      };
      response.writeHead(200);
      send();
    },
    why: /larger than 524288 bytes/,
  },
  'hangs before the headers': { answer: () => {}, why: /did not answer within/ },
  'sends no JSON': { answer: (response) => void response.end('<html>'), why: /is not JSON/ },
  'has no keys': { answer: json({ keys: [] }), why: /is empty/ },
  'has 10,000 keys': {
    answer: json({ keys: Array.from({ length: 10_000 }, () => ({ kty: 'OKP' })) }),
    why: /at most 100 keys/,
  },
  'publishes its private key': {
    answer: json({ keys: [makeKey().privateJwk] }),
    why: /secret key/,
  },
};

test('[HOST-11] an issuer that misbehaves keeps its last keys and disturbs nothing else', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  await Promise.all(
    Object.entries(ATTACKS).map(async ([attack, { answer, why }]) => {
      const server = await startKeyServer(t, json(jwks(issuer)));
      const { verifier, reads } = await openRemote(t, server);
      server.answer = answer;
      await verifier.check();
      assert.deepEqual(reads, ['none', 'identity.unavailable'], attack);
      assert.match(verifier.status().detail ?? '', why, attack);
      assert.ok(await verifier.verify(await issuer.token()), attack);
    }),
  );
});

test('[HOST-11] a key set on an address that is not public is not read unless its network is allowed', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const server = await startKeyServer(t, json(jwks(issuer)));
  const { reads, verifier } = await openRemote(t, server, { allowNetworks: [] });
  assert.deepEqual(reads, ['egress.refused']);
  await assert.rejects(verifier.verify(await issuer.token()), hasId('identity.unavailable'));
  assert.equal(server.asked.length, 0);
});

test('[HOST-11] algorithms, audiences, claims and tenant are those of the issuer', async (t) => {
  const issuer = await makeTokenIssuer(tempDir(t));
  const server = await startKeyServer(t, json(jwks(issuer)));
  const open = async (rules: Parameters<typeof openRemote>[2]) =>
    (await openRemote(t, server, rules)).verifier;
  const rs = await open({ rules: { algorithms: ['RS256'] } });
  await assert.rejects(rs.verify(await issuer.token()), hasId('identity.invalid', /algorithm/));
  const many = await open({ rules: { audience: ['other', 'zero-latency'] } });
  assert.ok(await many.verify(await issuer.token()));
  const none = await open({ rules: { audience: ['other'] } });
  await assert.rejects(none.verify(await issuer.token()), hasId('identity.invalid', /"aud"/));
  const claims = { tenant: 'https://x.test/org', user: '/person/id', roles: '/realm~1a/roles' };
  const mapped = await open({ rules: { claims } });
  const given = {
    'https://x.test/org': 'acme',
    person: { id: 'eva' },
    'realm/a': { roles: ['ops'] },
  };
  assert.deepEqual((await mapped.verify(await issuer.token({ claims: given }))).identity, {
    ...{ tenant: 'acme', user: 'eva', roles: ['ops'] },
  });
  await assert.rejects(
    mapped.verify(await issuer.token()),
    hasId('identity.invalid', /x\.test\/org/),
  );
  const inherited = await open({ rules: { claims: { ...claims, user: '/constructor/name' } } });
  await assert.rejects(
    inherited.verify(await issuer.token({ claims: given })),
    hasId('identity.invalid', /constructor/),
  );
  const fixed = await open({ rules: { tenant: 'south' } });
  assert.equal((await fixed.verify(await issuer.token())).identity.tenant, 'south');
});
