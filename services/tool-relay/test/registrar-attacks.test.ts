import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createEnrolmentCode } from '@zerolatency/identity';
import { eventually } from '@zerolatency/testing';
import { enrolRequest, idOf, newKey, registrarWorld } from './registrar-world.ts';

const PATH = '/zerolatency.registrar.v1.EnrolmentService/Enrol';

/** One of HTTP/1.1, as curl would send it. */
async function post(url: string, ca: string, { body, type }: { body: string; type: string }) {
  const request = httpsRequest(`${url}${PATH}`, {
    ...{ method: 'POST', ca },
    headers: { 'content-type': type },
  });
  request.end(body);
  const [response] = await once(request, 'response');
  let answer = '';
  for await (const chunk of response) answer += chunk;
  return { status: response.statusCode, answer };
}

test('[BRG-04] a flood of guessed codes costs a bounded number of proofs, and an honest enrolment succeeds meanwhile', async (t) => {
  const { invite, stranger, registrar, metrics, logLines } = await registrarWorld(t);
  const audience = registrar.enrolUrl;
  const key = newKey();
  const code = await invite();
  const guess = async () => enrolRequest(createEnrolmentCode(), { audience, key });
  const guesses = await Promise.all(Array.from({ length: 400 }, guess));
  const startedMs = performance.now();
  const flood = Array.from({ length: 10 }, async (_, attacker) => {
    const client = stranger();
    const answers: string[] = [];
    for (const each of guesses.slice(attacker * 40, attacker * 40 + 40)) {
      answers.push(await idOf(client.enrol(each)));
    }
    return answers;
  });
  await eventually(async () => /error_id="limit\.exceeded"/.test(await metrics()));
  const { tenant } = await stranger().enrol(await enrolRequest(code, { audience }));
  assert.equal(tenant, 'north');
  const answers = (await Promise.all(flood)).flat();
  const seconds = (performance.now() - startedMs) / 1000;
  assert.deepEqual(new Set(answers), new Set(['enrolment.refused', 'limit.exceeded']));
  const verified = answers.filter((id) => id === 'enrolment.refused').length;
  // A burst of ten, then one a second; the honest one counts too.
  assert.ok(verified <= 11 + seconds, `${verified} in ${seconds} s`);
  const said = logLines.filter((line) => line.includes('enrolment refused'));
  assert.ok(said.length >= 2 && said.length <= 20, String(said.length));
  assert.match(said.join(''), /guesses codes, so block the address/);
});

test('[BRG-04] large and malformed requests are refused, and the listener goes on', async (t) => {
  const { invite, stranger, registrar, authority } = await registrarWorld(t);
  const { enrolUrl } = registrar;
  const send = (body: string, type = 'application/json') =>
    post(enrolUrl, authority.ca, { body, type });
  assert.match((await send(JSON.stringify({ code: 'x'.repeat(64_000) }))).answer, /too_large/);
  for (const body of ['', '{', 'null', '[]', '{"code":7}', '\0\xff', '{"a":'.repeat(3000)]) {
    const { status, answer } = await send(body);
    assert.deepEqual([body, status], [body, 400], answer);
  }
  assert.match((await send('\xff\xff\xff', 'application/proto')).answer, /request\.invalid/);
  assert.equal((await send('{}', 'text/html')).status, 415);
  const garbage = { code: '\0'.repeat(1000), proof: '.'.repeat(5000), deviceKeyJwk: '[[[[' };
  assert.equal(await idOf(stranger().enrol(garbage)), 'enrolment.proof_invalid');
  const request = await enrolRequest(await invite(), { audience: enrolUrl });
  assert.equal((await stranger().enrol(request)).tenant, 'north');
});

/** Begins a request and never ends it. */
async function slowRequest(t: TestContext, { url, ca }: { url: string; ca: string }) {
  const socket = connectTls({ port: Number(new URL(url).port), host: 'localhost', ca });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]);
  const head = ['host: localhost', 'content-type: application/json', 'content-length: 100'];
  socket.write(`POST ${PATH} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n{"code":`);
  return socket;
}

test('[BRG-04] requests that never end neither keep others out nor stay', async (t) => {
  const settings = { 'registrar.enrol.connections': { maxUnproved: 20, handshake: '2s' } };
  const { invite, stranger, registrar, authority } = await registrarWorld(t, { settings });
  const { enrolUrl: url } = registrar;
  const code = await invite();
  const slow: TLSSocket[] = [];
  for (let i = 0; i < 40; i++) slow.push(await slowRequest(t, { url, ca: authority.ca }));
  const request = await enrolRequest(code, { audience: url });
  assert.equal((await stranger().enrol(request)).tenant, 'north');
  await eventually(() => slow.every(({ destroyed }) => destroyed), { timeoutMs: 30_000 });
});

test('[BRG-04] strangers find neither reflection nor health checks nor administration', async (t) => {
  const { registrar, authority } = await registrarWorld(t);
  for (const path of [
    'zerolatency.registrar.v1.RegistrarService/CreateCode',
    'grpc.health.v1.Health/Watch',
    'grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  ]) {
    const request = httpsRequest(`${registrar.enrolUrl}/${path}`, {
      ...{ method: 'POST', ca: authority.ca },
      headers: { 'content-type': 'application/json' },
    });
    request.end('{"tenant":"north"}');
    const [response] = await once(request, 'response');
    response.resume();
    assert.equal(response.statusCode, 501, path);
  }
});
