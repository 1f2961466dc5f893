// An MCP server with one fault, written without the SDK so that it can break every rule.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

interface Request {
  readonly id?: number;
  readonly method?: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: Record<string, unknown>;
    readonly _meta?: { readonly progressToken?: number };
  };
}

const behaviour = process.argv[2] ?? 'well';
const write = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const answer = (id: number | undefined, result: unknown) => write({ jsonrpc: '2.0', id, result });
const notify = (method: string, params?: object) => write({ jsonrpc: '2.0', method, params });
const parent = process.ppid;
/** Outlives its parent for a while, as some tests want, and not for good after an interrupted run. */
const exitAfterParent = () => {
  if (process.ppid !== parent) setTimeout(() => process.exit(1), 10_000);
};
const never = () => setInterval(exitAfterParent, 1_000);

let callCount = 0;
let onPong = () => {};
const ECHO_TOOL = { name: 'echo', description: 'Echoes.', inputSchema: { type: 'object' } };

const calls: Record<string, (request: Request) => void> = {
  'reports-an-error': ({ id }) =>
    answer(id, {
      isError: true,
      content: [{ type: 'text', text: 'it is broken' }],
      _meta: { errorId: 'policy.denied' },
    }),
  'answers-with-an-error': ({ id, params }) =>
    write({ jsonrpc: '2.0', id, error: params?.arguments?.error }),
  'answers-as-told': ({ id, params }) => answer(id, params?.arguments?.result),
  'exits-on-call': () => process.exit(3),
  'closes-stdout': () => {
    process.stdout.end();
    never();
  },
  'hangs-on-call': () => {},
  'hangs-for-good-on-call': () => {
    const forever = new Int32Array(new SharedArrayBuffer(4));
    for (;;) {
      Atomics.wait(forever, 0, 0, 200);
      if (process.ppid !== parent) process.exit(1);
    }
  },
  'floods-without-newline': () => flood('x'.repeat(65_536)),
  'floods-with-lines': () => flood('rubbish\n'.repeat(1000)),
  'floods-with-messages': () =>
    flood('{"jsonrpc":"2.0","method":"notifications/message"}\n'.repeat(1000)),
  'prints-a-huge-line': ({ id }) =>
    answer(id, { content: [{ type: 'text', text: 'x'.repeat(20 * 1024 * 1024) }] }),
  'answers-huge-in-order': ({ id, params }) => {
    const result = { content: [{ type: 'text', text: 'x'.repeat(2 * 1024 * 1024), id: 1 }] };
    const members: Record<string, unknown> = { jsonrpc: '2.0', id, result, method: 'ping' };
    const order = Object.values(params?.arguments?.order ?? {});
    write(Object.fromEntries(order.map((name) => [name, members[`${name}`]])));
  },
  'escapes-its-letters': ({ id }) => {
    const text = '\\u00e9'.repeat(5_000_000);
    process.stdout.write(`{"jsonrpc":"2.0","id":${id},"result":{"content":[],"text":"${text}"}}\n`);
  },
  'answers-with-rubbish': ({ id }) => answer(id, 'rubbish'),
  miscounts: ({ id }) => answer(id, { content: [], structuredContent: { count: 'many' } }),
  drips: ({ id }) => drip(`${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } })}\n`),
  'answers-big': ({ id }) => answer(id, { content: [{ type: 'text', text: 'y'.repeat(300_000) }] }),
  'tells-a-change': ({ id }) => {
    ECHO_TOOL.description = 'Echoes, changed.';
    notify('notifications/tools/list_changed');
    answer(id, { content: [] });
  },
  'reports-progress': ({ id, params }) => {
    const progressToken = params?._meta?.progressToken;
    for (let progress = 1; progress <= 1_000; progress++) {
      notify('notifications/progress', {
        progressToken,
        progress,
        total: 1_000,
        message: 'copies',
      });
    }
    // The client answers once it has read the notifications.
    onPong = () => answer(id, { content: [] });
    write({ jsonrpc: '2.0', id: 'pong', method: 'ping' });
  },
  'logs-a-line': ({ id }) => {
    process.stderr.write(`${process.argv[3]}\n`);
    answer(id, { content: [] });
  },
  'tells-changes-without-end': ({ id }) => {
    callCount += 1_000;
    for (let n = 0; n < 1_000; n++) {
      ECHO_TOOL.description = `Echoes, changed ${callCount} times.`;
      notify('notifications/tools/list_changed');
    }
    answer(id, { content: [] });
  },
  'logs-without-end': ({ id }) => {
    for (let n = 0; n < 10_000; n++) process.stderr.write(`line ${n}\n`);
    answer(id, { content: [] });
  },
};

function flood(text: string): void {
  const more = () => {
    while (process.stdout.write(text));
    process.stdout.once('drain', more);
  };
  more();
}

function drip(text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    process.stdout.write(text.slice(at, at + 7));
    at += 7;
    if (at >= text.length) clearInterval(timer);
  }, 1);
}

function listTools({ id }: Request): void {
  const endless = behaviour === 'lists-without-end';
  const needsTask = behaviour === 'demands-a-task';
  const tool = { ...ECHO_TOOL, ...(needsTask ? { execution: { taskSupport: 'required' } } : {}) };
  answer(id, { tools: [tool], ...(endless ? { nextCursor: 'again' } : {}) });
}

function callTool(request: Request): void {
  callCount += 1;
  const { env, pid } = process;
  const text = JSON.stringify({ env, params: request.params, pid, callCount });
  const reply = () => answer(request.id, { content: [{ type: 'text', text }] });
  if (behaviour === 'is-slow') setTimeout(reply, 400);
  else reply();
}

function initialize({ id }: Request): void {
  const capabilities = { tools: { listChanged: true } };
  answer(id, {
    protocolVersion: '2025-06-18',
    capabilities,
    serverInfo: { name: behaviour, version: '1.2.3' },
  });
}

/** The revision of 2026 begins with this; a server of 2025 does not know it. */
function discover({ id }: Request): void {
  if (behaviour === 'exits-on-discover') process.exit(3);
  if (behaviour === 'ignores-discover') return;
  write({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no such method' } });
}

const methods: Record<string, (request: Request) => void> = {
  'server/discover': discover,
  initialize,
  ping: ({ id }) => answer(id, {}),
  'tools/list': listTools,
  'tools/call': calls[behaviour] ?? callTool,
  'notifications/initialized': () => {
    if (behaviour === 'leaves-a-grandchild') process.exit(0);
    if (behaviour === 'is-deaf') process.stdin.pause();
  },
};

if (behaviour === 'exits-at-start') process.exit(7);
if (behaviour === 'prints-a-banner') process.stdout.write('Welcome to this server!\n\n');
if (behaviour === 'ignores-sigterm') {
  process.on('SIGTERM', () => {});
  never();
}
// While it does not read stdin, nothing else keeps it alive.
if (behaviour === 'is-deaf') never();
if (behaviour.endsWith('-grandchild')) {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 30_000)'], {
    stdio: ['ignore', 'inherit', 'ignore'],
  });
  process.stderr.write(`grandchild ${child.pid}\n`);
}
if (behaviour === 'hangs-at-start') never();
else {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const request: Request = JSON.parse(line);
    if (request.method === undefined) onPong();
    methods[request.method ?? '']?.(request);
    const isDeaf = behaviour === 'is-deaf' && request.method === 'initialize';
    if (isDeaf) setImmediate(() => lines.pause());
  });
  lines.on('close', () => {
    if (behaviour !== 'ignores-sigterm' && behaviour !== 'is-deaf') process.exit(0);
  });
}
