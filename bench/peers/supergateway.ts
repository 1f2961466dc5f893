import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { join } from 'node:path';
import { eventually, freePort } from '@zerolatency/testing';
import { lifetime } from '../lifetime.ts';

export const PACKAGE = 'supergateway@4.0.0';
const PROGRAM = join(import.meta.dirname, 'node_modules/supergateway/dist/index.js');
const PROTOCOL_VERSION = '2025-06-18';
const ACCEPT = 'application/json, text/event-stream';

export const isInstalled = existsSync(PROGRAM);

export interface Peer {
  /** Resolves with the result of one call, as text. */
  call(tool: string, args: object): Promise<string>;
}

/** A stdio server behind supergateway, on loopback without TLS, which it does not have. */
async function startGateway(
  command: string,
  options: readonly string[],
): Promise<{ readonly port: number }> {
  const port = await freePort();
  const args = ['--stdio', command, '--port', `${port}`, '--logLevel', 'none', ...options];
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, ...args], { stdio: 'ignore' });
  lifetime.after(() => child.kill());
  const ready = () =>
    fetch(`http://127.0.0.1:${port}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
  await eventually(ready, { timeoutMs: 30_000, everyMs: 50 });
  return { port };
}

/** Each call is a POST whose response is a stream of one event. */
export async function streamableHttp(command: string, atOnce: number): Promise<Peer> {
  const transport = ['--outputTransport', 'streamableHttp', '--stateful'];
  const { port } = await startGateway(command, [...transport, '--healthEndpoint', '/healthz']);
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  lifetime.after(() => agent.destroy());
  const headers: Record<string, string> = { accept: ACCEPT, 'content-type': 'application/json' };
  const post = async (message: object) => {
    const path = '/mcp';
    const response = await sent({ port, path, agent, headers, method: 'POST' }, message);
    const session = response.headers['mcp-session-id'];
    if (typeof session === 'string') headers['mcp-session-id'] = session;
    let text = '';
    response.setEncoding('utf8');
    for await (const chunk of response) text += chunk;
    return text;
  };
  await post(rpc(0, 'initialize', INITIALIZE));
  headers['mcp-protocol-version'] = PROTOCOL_VERSION;
  await post(INITIALIZED);
  let id = 0;
  return {
    call: async (name, args) => {
      id += 1;
      return resultOf(await post(rpc(id, 'tools/call', { name, arguments: args })));
    },
  };
}

/** Each call is a POST, and its result an event of one stream for all. */
export async function serverSentEvents(command: string, atOnce: number): Promise<Peer> {
  const options = ['--outputTransport', 'sse', '--healthEndpoint', '/healthz'];
  const { port } = await startGateway(command, options);
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  lifetime.after(() => agent.destroy());
  const stream = await sent({ port, path: '/sse', method: 'GET' });
  lifetime.after(() => stream.destroy());
  const waiting = new Map<number, (event: string) => void>();
  const endpoint = Promise.withResolvers<string>();
  readEvents(stream, (event) => {
    if (event.startsWith('event: endpoint')) endpoint.resolve(dataOf(event));
    else waiting.get(Number(/"id":(\d+)/.exec(event)?.[1]))?.(event);
  });
  const { pathname, search } = new URL(await endpoint.promise, `http://127.0.0.1:${port}`);
  const path = `${pathname}${search}`;
  const headers = { 'content-type': 'application/json' };
  const post = async (message: object) => {
    const response = await sent({ port, path, agent, headers, method: 'POST' }, message);
    response.resume();
  };
  let id = 0;
  const ask = async (method: string, params: object) => {
    id += 1;
    const own = id;
    const answered = new Promise<string>((resolve) => waiting.set(own, resolve));
    await post(rpc(own, method, params));
    const event = await answered;
    waiting.delete(own);
    return event;
  };
  await ask('initialize', INITIALIZE);
  await post(INITIALIZED);
  return {
    call: async (name, args) => resultOf(await ask('tools/call', { name, arguments: args })),
  };
}

const INITIALIZE = {
  protocolVersion: PROTOCOL_VERSION,
  capabilities: {},
  clientInfo: { name: 'bench', version: '1.0.0' },
};
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' };

function rpc(id: number, method: string, params: object): object {
  return { jsonrpc: '2.0', id, method, params };
}

function sent(options: RequestOptions, message?: object): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', ...options }, resolve);
    asked.on('error', reject);
    asked.end(message && JSON.stringify(message));
  });
}

function readEvents(stream: IncomingMessage, onEvent: (event: string) => void): void {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      onEvent(text.slice(0, end));
      text = text.slice(end + 2);
    }
  });
}

function dataOf(event: string): string {
  return /^data: (.*)$/m.exec(event)?.[1] ?? '';
}

function resultOf(event: string): string {
  const { result, error } = JSON.parse(dataOf(event) || event);
  if (error !== undefined || result.isError) throw new Error(`the peer failed: ${event}`);
  return result.content[0].text;
}
