import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { AgentService } from '@zerolatency/proto/agent';
import { generateKeyPair } from '@zerolatency/signing';
import {
  makeAuthority,
  makeTokenIssuer,
  type TestTokenIssuer,
  tempDir,
} from '@zerolatency/testing';

const MAIN = join(import.meta.dirname, '../../services/model-host/src/main.ts');

const SCRIPT = `schema: zerolatency.mock-script/v1
rules:
- when: { text: hang }
  reply: [{ text: thinking }, { hang: true }]
- when: { text: pour }
  reply: [{ text: { value: '${'x'.repeat(50)}', chunkChars: 50, repeat: 20000 } }]
- reply: [{ text: hello }]`;

export interface AttackedHost {
  readonly pid: number;
  readonly port: number;
  readonly rpc: string;
  readonly admin: string;
  readonly ca: string;
  readonly issuer: TestTokenIssuer;
  readonly log: () => string;
  client(): Client<typeof AgentService>;
  residentBytes(): number;
  cpuMs(): number;
  /** The sum of a metric over the labels that are not given. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  health(): Promise<{
    status: string;
    components: { name: string; status: string; detail?: string }[];
  }>;
}

interface Options {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly maxDescriptors?: number;
  readonly nodeOptions?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The host's program in a process of its own, over TLS and with the scripted model. */
export async function startAttackedHost(
  t: { after(fn: () => unknown): void },
  { settings = {}, maxDescriptors, nodeOptions = [], env = {} }: Options = {},
): Promise<AttackedHost> {
  let running: ChildProcess | undefined;
  // Registered before the folder's removal, because hooks run in that order.
  t.after(() => running?.kill('SIGKILL'));
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const issuer = await makeTokenIssuer(dir);
  writeFileSync(join(dir, 'key.pem'), generateKeyPair().privatePem);
  writeFileSync(join(dir, 'script.yaml'), SCRIPT);
  const flags = {
    'rpc.port': 0,
    'rpc.tls.certFile': certFile,
    'rpc.tls.keyFile': keyFile,
    'rpc.tls.caFile': caFile,
    'admin.port': 0,
    'identity.jwksFile': issuer.jwksFile,
    'identity.issuer': issuer.issuer,
    'identity.audience': issuer.audience,
    'ledger.dir': join(dir, 'ledger'),
    'ledger.key.file': join(dir, 'key.pem'),
    'providers.mock.scriptFile': join(dir, 'script.yaml'),
    'drain.deadline': '200ms',
    ...settings,
  };
  const args = Object.entries(flags).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const command = [process.execPath, ...nodeOptions, MAIN, ...args];
  const limited =
    maxDescriptors === undefined
      ? command
      : ['sh', '-c', `ulimit -n ${maxDescriptors}; exec "$@"`, 'sh', ...command];
  const [program = '', ...rest] = limited;
  const child = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  running = child;
  let log = '';
  child.stderr.on('data', (chunk) => {
    log += chunk;
  });
  const lines = createInterface({ input: child.stdout });
  const { rpc, admin } = await new Promise<{ rpc: string; admin: string }>((resolve, reject) => {
    lines.on('line', (line) => {
      log += `${line}\n`;
      const { event, ...addresses } = JSON.parse(line);
      if (event === 'ready') resolve(addresses);
    });
    child.once('exit', () => reject(new Error(`the host did not start: ${log}`)));
  });
  const pid = child.pid!;
  const proc = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8');
  return {
    pid,
    rpc,
    admin,
    port: Number(new URL(rpc).port),
    ca: authority.ca,
    issuer,
    log: () => log,
    client: () =>
      createClient(
        AgentService,
        createGrpcTransport({ baseUrl: rpc, nodeOptions: { ca: authority.ca } }),
      ),
    residentBytes: () => Number(/VmRSS:\s+(\d+)/.exec(proc('status'))?.[1]) * 1024,
    cpuMs: () => {
      const fields = proc('stat').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
    metric: async (name, labels = {}) => {
      const text = await (await fetch(`${admin}/metrics`)).text();
      let sum = 0;
      for (const line of text.split('\n')) {
        const [, found, of = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
        const isAsked = Object.entries(labels).every(([key, is]) => of.includes(`${key}="${is}"`));
        if (found === name && isAsked) sum += Number(value);
      }
      return sum;
    },
    health: async () => (await fetch(`${admin}/health`)).json() as never,
  };
}

/** Runs turns of an honest user on a connection of its own, one after another, until it is over. */
export async function turnsDuring(
  host: AttackedHost,
  over: Promise<unknown>,
): Promise<{ done: number; failures: unknown[]; slowestMs: number }> {
  const client = host.client();
  const headers = { authorization: `Bearer ${await host.issuer.token({ user: 'honest' })}` };
  let isOver = false;
  void over.finally(() => {
    isOver = true;
  });
  const failures: unknown[] = [];
  let done = 0;
  let slowestMs = 0;
  do {
    const startedMs = performance.now();
    try {
      let last: string | undefined;
      for await (const { event } of client.chat({ start: { text: 'hello' } }, { headers })) {
        last = event?.event.case;
      }
      if (last === 'assistantDone') done += 1;
      else failures.push(last);
    } catch (reason) {
      failures.push(reason);
    }
    slowestMs = Math.max(slowestMs, performance.now() - startedMs);
  } while (!isOver);
  return { done, failures, slowestMs };
}
