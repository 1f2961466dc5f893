import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { type ErrorId, fromUnknown, type ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import type { VendorType } from '../../src/adapters/ai-sdk/vendors.ts';
import {
  type Answer,
  BOUNDS,
  eventsOf,
  PLANTED_KEY,
  partsOf,
  providerOf,
  requestTo,
  sendsError,
  sendsEvents,
  VENDOR_TYPES,
  vendorServer,
} from './vendor-server.ts';

/** Beside those at the boundaries of events. Another sample in every run, because all take minutes. */
const RANDOM_CUTS = 60;
interface Cut {
  readonly at: number;
  readonly isReset: boolean;
}

const BROKEN: readonly ErrorId[] = ['provider.failed', 'provider.interrupted'];

for (const type of VENDOR_TYPES) {
  test(`[PROV-02] a reply of ${type} that is cut at any byte is an error, or whole`, async (t) => {
    const events = eventsOf(type);
    const server = await vendorServer(t, sendsEvents(events));
    const provider = await providerOf(t, type, server);
    const whole = contentOf(await partsOf(provider, requestTo(type)));
    const examples = boundariesOf(events).map((at): [Cut] => [{ at, isReset: false }]);
    const cut: fc.Arbitrary<Cut> = fc.record({
      at: fc.nat({ max: events.length }),
      isReset: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(cut, async ({ at, isReset }) => {
        server.answer = sendsStart(events.subarray(0, at), isReset ? 'reset' : 'end');
        const parts = await partsOf(provider, requestTo(type)).catch((reason) => {
          assert.ok(BROKEN.includes(fromUnknown(reason).id), fromUnknown(reason).message);
          return [];
        });
        const end = parts.at(-1);
        if (end?.type !== 'finish' || end.finishReason.unified === 'interrupted') return;
        assert.deepEqual(contentOf(parts), whole);
      }),
      { numRuns: RANDOM_CUTS + examples.length, examples },
    );
  });

  test(`[PROV-02] what ${type} answers instead of a reply becomes an error of ours`, async (t) => {
    const cases: readonly [ErrorId, Answer][] = [
      ['provider.unauthorized', sendsError(401)],
      ['provider.unauthorized', sendsError(403)],
      ['provider.rejected', sendsError(400)],
      ['provider.rejected', sendsError(404)],
      ['provider.rejected', sendsError(302, { location: '/elsewhere' })],
      ['provider.throttled', sendsError(429)],
      ['provider.throttled', sendsError(529)],
      ['provider.failed', sendsError(500)],
      ['provider.failed', sendsError(503)],
      ['provider.failed', sendsEvents('')],
      ['provider.failed', sendsEvents('data: {"a":\n\n')],
      ['provider.failed', sendsEvents('data: {"type":"nothing known"}\n\n')],
      ['provider.failed', sendsEvents('<html>'.repeat(1000))],
      ['provider.failed', (response) => response.destroy()],
    ];
    const server = await vendorServer(t, () => {});
    const provider = await providerOf(t, type, server);
    for (const [id, answer] of cases) {
      server.answer = answer;
      const error = await failureOf(partsOf(provider, requestTo(type)));
      assert.equal(error.id, id, `${type}: ${error.message}`);
      assert.doesNotMatch(everythingIn(error), new RegExp(PLANTED_KEY), type);
    }
    assert.equal(
      server.asked.length,
      cases.length,
      'nothing is asked twice, and no redirect is followed',
    );
  });

  test(`[PROV-02] a reply of ${type} that turns unreadable is interrupted`, async (t) => {
    const [first = ''] = eventsUpToText(type);
    const server = await vendorServer(t, sendsEvents(`${first}data: {"type":\n\n`));
    const provider = await providerOf(t, type, server);
    assert.equal((await failureOf(partsOf(provider, requestTo(type)))).id, 'provider.interrupted');
  });

  test(`[PROV-06] ${type} is given up when it hangs before its reply, and in its midst`, async (t) => {
    const hang: Answer = () => {};
    const server = await vendorServer(t, hang);
    const late = { ...BOUNDS, firstByteMs: 50, idleMs: 50 };
    const provider = await providerOf(t, type, server, { bounds: late });
    const before = await failureOf(partsOf(provider, requestTo(type)));
    assert.equal(before.id, 'provider.timeout');
    const [first = ''] = eventsUpToText(type);
    server.answer = sendsStart(first, 'hang');
    const amidst = await failureOf(partsOf(provider, requestTo(type)));
    assert.equal(amidst.id, 'provider.interrupted');
    const whole = await providerOf(t, type, server, { bounds: { ...BOUNDS, totalMs: 50 } });
    server.answer = hang;
    assert.equal((await failureOf(partsOf(whole, requestTo(type)))).id, 'provider.timeout');
  });

  test(`[PROV-02] ${type} is cut off when it sends without an end`, async (t) => {
    let sent = 0;
    const floods =
      (start: string, piece: string): Answer =>
      (response) => {
        const pour = () => {
          do sent += piece.length;
          while (!response.destroyed && response.write(piece));
        };
        response.on('drain', pour).writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(start);
        pour();
      };
    const server = await vendorServer(t, () => {});
    const provider = await providerOf(t, type, server);
    const [upToText = '', upToCall = ''] = eventsUpToText(type);
    // One event without an end, comments, and the arguments of a call.
    for (const [start, piece] of [
      ['data: "', 'x'.repeat(65_536)],
      ['', ': comment\n\n'.repeat(1000)],
      [upToText, ': comment\n\n'.repeat(1000)],
      [upToCall, '\ndata: {}'.repeat(1000)],
    ] as const) {
      sent = 0;
      server.answer = floods(start, piece);
      const error = await failureOf(partsOf(provider, requestTo(type)));
      assert.ok(BROKEN.includes(error.id), `${type}: ${error.id}`);
      assert.ok(sent < 100 * BOUNDS.maxReplyBytes, `${type}: ${sent}`);
    }
  });
}

test('[PROV-03] an account without credit is not one that is throttled', async (t) => {
  const cases: readonly [VendorType, number, object][] = [
    ['openai', 429, { message: 'You exceeded your current quota', code: 'insufficient_quota' }],
    ['openai-compatible', 402, { message: 'Insufficient balance' }],
    [
      'anthropic',
      400,
      { type: 'invalid_request_error', message: 'Your credit balance is too low' },
    ],
  ];
  for (const [type, status, error] of cases) {
    const server = await vendorServer(t, (response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ type: 'error', error }));
    });
    const failure = await failureOf(partsOf(await providerOf(t, type, server), requestTo(type)));
    assert.deepEqual([failure.id, failure.retryable], ['provider.exhausted', false], type);
  }
});

test('[PROV-02] says how long an overloaded provider asks to wait', async (t) => {
  const server = await vendorServer(t, () => {});
  const provider = await providerOf(t, 'openai', server);
  const waits: readonly [Record<string, string>, number | undefined][] = [
    [{ 'retry-after': '7' }, 7000],
    [{ 'retry-after': '7', 'retry-after-ms': '1500' }, 1500],
    [{ 'retry-after': '999999999' }, 3_600_000],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '-1' }, undefined],
    [{}, undefined],
  ];
  for (const [headers, expectedMs] of waits) {
    server.answer = sendsError(429, headers);
    const error = await failureOf(partsOf(provider, requestTo('openai')));
    assert.deepEqual([error.id, error.retryAfterMs], ['provider.throttled', expectedMs]);
  }
  const inAMinute = new Date(Date.now() + 60_000).toUTCString();
  server.answer = sendsError(429, { 'retry-after': inAMinute });
  const { retryAfterMs = 0 } = await failureOf(partsOf(provider, requestTo('openai')));
  assert.ok(retryAfterMs > 30_000 && retryAfterMs <= 60_000);
});

test('[PROV-02] an overload that Anthropic reports within its stream is one before the first text, and an interruption after it', async (t) => {
  const overload =
    'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n';
  const server = await vendorServer(t, sendsEvents(overload));
  const provider = await providerOf(t, 'anthropic', server);
  const ask = () => failureOf(partsOf(provider, requestTo('anthropic')));
  assert.equal((await ask()).id, 'provider.throttled');
  const [first = ''] = eventsUpToText('anthropic');
  server.answer = sendsEvents(first + overload);
  assert.equal((await ask()).id, 'provider.interrupted');
});

test('[PROV-02] a refusal of Anthropic and a filter of the others stop as filtered', async (t) => {
  const replaced: Readonly<Record<string, [string, string]>> = {
    anthropic: ['"stop_reason":"tool_use"', '"stop_reason":"refusal"'],
    'openai-chat': ['"finish_reason":"tool_calls"', '"finish_reason":"content_filter"'],
    'openai-compatible': ['"finish_reason":"tool_calls"', '"finish_reason":"content_filter"'],
    google: ['"finishReason":"STOP"', '"finishReason":"SAFETY"'],
  };
  for (const type of VENDOR_TYPES.filter((each) => each in replaced)) {
    const [from, to] = replaced[type] ?? ['', ''];
    const events = eventsOf(type).toString();
    assert.ok(events.includes(from), type);
    const server = await vendorServer(t, sendsEvents(events.replace(from, to)));
    const end = (await partsOf(await providerOf(t, type, server), requestTo(type))).at(-1);
    assert.equal(end?.type === 'finish' && end.finishReason.unified, 'content-filter', type);
  }
});

test('[PROV-06] a reply that is no longer wanted closes its connection', async (t) => {
  for (const type of VENDOR_TYPES) {
    const [first = ''] = eventsUpToText(type);
    const closed = Promise.withResolvers<void>();
    const server = await vendorServer(t, (response, request) => {
      response.on('close', closed.resolve);
      sendsStart(first, 'hang')(response, request);
    });
    const provider = await providerOf(t, type, server);
    const stop = new AbortController();
    const parts = provider.stream(requestTo(type), stop.signal)[Symbol.asyncIterator]();
    await parts.next();
    const rest = failureOf(
      (async () => {
        while (!(await parts.next()).done);
      })(),
    );
    stop.abort(new DOMException('enough', 'AbortError'));
    assert.equal((await rest).id, 'operation.cancelled', type);
    await closed.promise;
  }
});

async function failureOf(work: Promise<unknown>): Promise<ZlError> {
  try {
    await work;
  } catch (reason) {
    return fromUnknown(reason);
  }
  assert.fail('there was no error');
}

function sendsStart(start: string | Uint8Array, then: 'end' | 'reset' | 'hang'): Answer {
  return (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (then === 'end') return response.end(start);
    // Headers and bytes leave before the connection breaks.
    response.write(start.length === 0 ? '\n' : start, () => then === 'reset' && response.destroy());
  };
}

/** The text and the calls, however they were cut into parts. */
function contentOf(parts: Awaited<ReturnType<typeof partsOf>>) {
  const text = parts.map((part) => (part.type === 'text-delta' ? part.delta : '')).join('');
  const calls = parts.flatMap((part) => (part.type === 'tool-call' ? [part.input] : []));
  return { text, calls };
}

/** Where an event ends, and the bytes beside. */
function boundariesOf(events: Buffer): number[] {
  const ends = [...events.toString('latin1').matchAll(/\r?\n\r?\n/g)].map((end) => end.index);
  return ends.flatMap((end) => [end, end + 1, end + 2]);
}

/** The events up to the first text, and those up to the beginning of a call's arguments. */
function eventsUpToText(type: VendorType): readonly string[] {
  const events = eventsOf(type).toString();
  const ends = [...events.matchAll(/\r?\n\r?\n/g)].map((end) => end.index + end[0].length);
  return ['I read ', 'path'].map((said) => {
    const from = events.indexOf(said);
    return events.slice(
      0,
      ends.find((end) => end > from),
    );
  });
}

function everythingIn(error: ZlError): string {
  const { cause } = error;
  return [error, cause]
    .map((each) => `${each} ${JSON.stringify(each, Object.getOwnPropertyNames(each ?? {}))}`)
    .join();
}
