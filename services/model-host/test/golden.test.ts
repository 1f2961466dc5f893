import { join } from 'node:path';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { AWAY, type FakeTool } from './support/fake-toolbox.ts';
import { startTestHost } from './support/host.ts';
import { cancel, Requests, start } from './support/streams.ts';
import { transcriptOf } from './support/transcript.ts';
import { assertNoGap } from './support/turn-bench.ts';

// Written anew by: node --test --test-update-snapshots services/model-host/test/golden.test.ts

interface Scenario {
  readonly says: string;
  /** The script that comes with the host when absent. */
  readonly rules?: string;
  readonly tools?: Readonly<Record<string, FakeTool>>;
  readonly limits?: Parameters<typeof start>[0]['limits'];
  readonly deviceId?: string;
  readonly deviceOptional?: boolean;
  readonly settings?: Readonly<Record<string, unknown>>;
  /** The client cancels as soon as it sees this event. */
  readonly cancelAt?: ChatEvent['event']['case'];
}

const FILES: Readonly<Record<string, string>> = { 'welcome.txt': 'Welcome.', 'b.txt': 'B.' };
const fsRead: FakeTool = ({ arguments: { path } }) => {
  const content = FILES[String(path)];
  if (content === undefined) throw new ZlError('fs.not_found', `${path} is not there`);
  return { path, size: content.length, content };
};
const denied: FakeTool = () => {
  throw new ZlError('policy.denied', 'rule "no-secrets" denies it');
};
const reader: FakeTool = async ({ arguments: { task }, signal, startTurn }) => {
  const turn = await startTurn?.({ text: String(task) }, signal);
  return { content: turn?.text };
};
const waits: FakeTool = ({ signal }) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

const scenarios: Readonly<Record<string, Scenario>> = {
  greeting: { says: 'hello' },
  'read-file': { says: 'read the welcome file', tools: { 'fs.read': fsRead } },
  'read-two-files-at-once': { says: 'read welcome.txt and b.txt', tools: { 'fs.read': fsRead } },
  'read-missing-file': { says: 'read nothing.txt', tools: { 'fs.read': fsRead } },
  'read-denied': { says: 'read secret.txt', tools: { 'fs.read': denied } },
  'no-device': { says: 'read the welcome file', tools: { 'fs.read': fsRead }, deviceId: '' },
  'device-away': { says: 'read the welcome file', deviceId: AWAY },
  'device-away-and-optional': {
    says: 'read the welcome file',
    tools: { 'fs.read': fsRead },
    deviceId: AWAY,
    deviceOptional: true,
  },
  'agent-calls-a-tool': {
    says: 'delegate',
    rules: `
- when: { after: results }
  reply: [{ text: 'so: {{result}}' }]
- when: { text: '^delegate' }
  reply: [{ text: 'One moment. ' }, { toolCalls: [{ tool: agent.reader, arguments: { task: look } }] }]
- reply: [{ text: 'unseen ' }, { toolCalls: [{ tool: fs.read, arguments: { path: b.txt } }] }]`,
    tools: { 'agent.reader': reader, 'fs.read': fsRead },
    settings: { 'turn.maxToolDepth': 2 },
  },
  'json-plan': {
    says: 'go',
    rules: `
- when: { text: '"result":' }
  reply: [{ text: { chunkChars: 200, value: '{"answer": "Both.", "calls": []}' } }]
- when: { text: 'could not be read' }
  reply:
    - text:
        chunkChars: 200
        value: |-
          {"answer": "Reading.", "calls": [{"tool": "fs.read", "arguments": {"path": "welcome.txt"}},
          {"tool": "fs.read", "arguments": {"path": "b.txt"}}]}
- reply: [{ text: '{"calls": [{"tool": ' }]`,
    tools: { 'fs.read': fsRead },
    settings: {
      'models.aliases': { mock: { provider: 'mock', model: 'scripted', toolCalls: 'json' } },
    },
  },
  'critic-asks-again': {
    says: 'go',
    rules: `
- when: { text: 'better answer' }
  reply: [{ text: 'Second.' }]
- when: { text: '"answer":"Second' }
  reply: [{ text: '{"verdict": "accept", "reason": ""}' }]
- when: { text: '"answer":"First' }
  reply: [{ text: '{"verdict": "retry", "reason": "too short"}' }]
- reply: [{ text: 'First.' }]`,
    settings: {
      'models.aliases': {
        mock: { provider: 'mock', model: 'scripted', critic: { model: 'strict' } },
        strict: { provider: 'mock', model: 'scripted' },
      },
    },
  },
  'one-call-of-two-fails': {
    says: 'read welcome.txt and nothing.txt',
    tools: { 'fs.read': fsRead },
  },
  'secret-in-result': {
    says: 'read the welcome file',
    tools: { 'fs.read': () => ({ content: 'key AKIAIOSFODNN7EXAMPLE is here' }) },
  },
  'unreadable-arguments-recovered': {
    says: 'go',
    rules: `
- when: { after: results }
  reply: [{ text: 'it says {{result}}' }]
- when: { text: 'could not be read' }
  reply: [{ toolCalls: [{ tool: fs.read, arguments: { path: welcome.txt } }] }]
- reply: [{ text: 'hm ' }, { toolCalls: [{ tool: fs.read, argumentsText: '{"path":' }] }]`,
    tools: { 'fs.read': fsRead },
  },
  'unreadable-arguments-forever': {
    says: 'go',
    rules: `- reply: [{ toolCalls: [{ tool: fs.read, argumentsText: 'welcome.txt' }] }]`,
    tools: { 'fs.read': fsRead },
  },
  'too-many-steps': {
    says: 'go',
    rules: `- reply: [{ toolCalls: [{ tool: fs.read, arguments: { path: b.txt } }] }]`,
    tools: { 'fs.read': fsRead },
    limits: { maxSteps: 2 },
  },
  'provider-fails-in-mid-sentence': {
    says: 'go',
    rules: `- reply: [{ text: 'so far ' }, { fail: overloaded }]`,
  },
  'cancel-in-a-call': {
    says: 'go',
    rules: `- reply: [{ text: 'wait ' }, { toolCalls: [{ tool: wait }, { tool: wait }] }]`,
    tools: { wait: waits },
    cancelAt: 'toolCallStarted',
  },
};

for (const [name, scenario] of Object.entries(scenarios)) {
  test(`[HOST-01] [HOST-02] the transcript of ${name} is unchanged`, async (t) => {
    const { rules = '', tools = {}, says, limits, deviceId = 'laptop', cancelAt } = scenario;
    const { deviceOptional = false, settings = {} } = scenario;
    const host = await startTestHost(t, { rules, tools, settings });
    const requests = new Requests();
    requests.send(
      start({
        text: says,
        sessionId: 'session',
        deviceId,
        deviceOptional,
        ...(limits === undefined ? {} : { limits }),
      }),
    );
    const events: ChatEvent[] = [];
    const client = host.client('grpc', await host.issuer.token());
    for await (const { event } of client.streamChat(requests)) {
      if (event === undefined) continue;
      events.push(event);
      if (event.event.case === cancelAt) requests.send(cancel());
      if (event.event.case === 'assistantDone' || event.event.case === 'error') requests.end();
    }
    assertNoGap(events);
    t.assert.fileSnapshot(
      transcriptOf(events),
      join(import.meta.dirname, 'golden', `${name}.json`),
      {
        serializers: [(value) => `${JSON.stringify(value, null, 2)}\n`],
      },
    );
  });
}
