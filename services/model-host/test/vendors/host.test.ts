import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromConnectError } from '@zerolatency/service/rpc';
import { tempDir } from '@zerolatency/testing';
import { startTestHost } from '../support/host.ts';
import { eventsOf, textOf } from '../support/streams.ts';
import {
  answerOf,
  MODELS,
  PLANTED_KEY,
  eventsOf as repliesOf,
  sendsError,
  sendsEvents,
  VENDOR_TYPES,
  vendorServer,
} from './vendor-server.ts';

test('[PROV-01] a host asks the vendor that the alias of a turn names', async (t) => {
  const replies = new Map(VENDOR_TYPES.map((type) => [type, answerOf(type)]));
  const servers = await Promise.all(
    VENDOR_TYPES.map(async (type) => ({
      type,
      server: await vendorServer(t, sendsEvents(replies.get(type) ?? '')),
    })),
  );
  const host = await startTestHost(t, {
    env: { KEY: PLANTED_KEY },
    settings: {
      'models.aliases': Object.fromEntries([
        ['mock', { provider: 'mock', model: 'm' }],
        ...VENDOR_TYPES.map((type) => [
          `by-${type}`,
          { provider: type, model: MODELS[type], maxOutputTokens: 777 },
        ]),
      ]),
      'providers.vendors': Object.fromEntries(
        servers.map(({ type, server }) => [
          type,
          { type, baseUrl: server.url, key: { env: 'KEY' } },
        ]),
      ),
    },
  });
  const client = host.client('connect', await host.issuer.token());
  for (const { type, server } of servers) {
    const events = await eventsOf(client.chat({ start: { text: 'hi', model: `by-${type}` } }));
    assert.equal(textOf(events), 'Done.', type);
    assert.equal(server.asked.length, 1);
    assert.match(
      server.asked[0]?.body ?? '',
      /"(max_output_tokens|max_tokens|maxOutputTokens)":777/,
    );
  }
});

test('[PROV-04] a key that changes in its file is used at once, and appears nowhere', async (t) => {
  const keyFile = join(tempDir(t), 'key');
  await writeFile(keyFile, 'sk-the-first-0000\n');
  const server = await vendorServer(t, sendsEvents(repliesOf('anthropic')));
  const spans: unknown[] = [];
  const host = await startTestHost(t, {
    tools: { 'fs.read': () => ({ content: 'x' }) },
    onSpan: ({ name, attributes, events, status }) => spans.push(name, attributes, events, status),
    settings: {
      'models.default': 'main',
      'models.aliases': { main: { provider: 'anthropic', model: MODELS.anthropic } },
      'providers.vendors': {
        anthropic: { type: 'anthropic', baseUrl: server.url, key: { file: keyFile } },
      },
      'turn.maxSteps': 2,
    },
  });
  const client = host.client('connect', await host.issuer.token());
  const ask = async () => {
    const events: unknown[] = [];
    const turn = client.chat({ start: { text: 'hi', deviceId: 'laptop' } });
    try {
      for await (const { event } of turn) events.push(event);
    } catch (reason) {
      events.push(fromConnectError(reason));
    }
    return events;
  };
  const told = [await ask()];
  await writeFile(keyFile, `${PLANTED_KEY}\n`);
  told.push(await ask());
  assert.equal(server.asked.at(-1)?.headers['x-api-key'], PLANTED_KEY);
  for (const status of [401, 400, 500]) {
    server.answer = sendsError(status);
    told.push(await ask());
    assert.match(host.recorder.records.at(-1)?.errorId ?? '', /^provider\./);
  }
  server.answer = (response) => {
    response.writeHead(200).end(`${repliesOf('anthropic').subarray(0, 900)}data: "${PLANTED_KEY}`);
  };
  told.push(await ask());
  const everything = JSON.stringify(
    [told, host.logs, spans, host.recorder.records],
    (_key, value) => (typeof value === 'bigint' ? `${value}` : value),
  );
  assert.match(everything, /masked:key/);
  assert.ok(!everything.includes(PLANTED_KEY) && !everything.includes('sk-the-first-0000'));
});

test('[PROV-04] a reference to a key that is not there stops the start', async (t) => {
  const settings = {
    'providers.vendors': { one: { type: 'anthropic', key: { env: 'ABSENT' } } },
  };
  await assert.rejects(startTestHost(t, { settings }), /variable ABSENT is missing/);
});
