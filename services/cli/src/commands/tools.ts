import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { ZlError } from '@zerolatency/errors';
import { parseName } from '@zerolatency/identity';
import type { Manifest } from '@zerolatency/manifest';
import { type Bundle, decideSomeCall, POLICY_BUNDLE } from '@zerolatency/policy';
import {
  Containment,
  Effects,
  type Server,
  ServerState,
  type Tool,
} from '@zerolatency/proto/bridge';
import { foreignLine } from '@zerolatency/redaction';
import { ageOf, documentName } from '@zerolatency/signing';
import { changeBundle, changeManifest } from '../installation/change.ts';
import { exclusively } from '../installation/exclusive.ts';
import type { Layout } from '../installation/layout.ts';
import { LOCAL } from '../installation/local.ts';
import { type AskedServer, serverEntry } from '../installation/server-entry.ts';
import type { Settings } from '../settings.ts';
import { faultsIn, type Probe, probeControlSocket } from '../status/probe.ts';
import { EXIT_STATUS, paintFor, print, type Terminal } from '../terminal.ts';
import { call } from './call.ts';
import { listDevices } from './devices.ts';
import { readContent } from './signed-file.ts';

interface Place {
  readonly layout: Layout;
  readonly settings: Settings;
}

/** Hashes, signs and allows an MCP server of this installation, and waits until it is ready. */
export async function toolsAdd(
  terminal: Terminal,
  { layout, settings }: Place,
  asked: AskedServer,
): Promise<number> {
  const { error } = parseName('server', asked.name);
  if (error !== undefined) throw new ZlError('request.invalid', `${asked.name} ${error}`);
  const entry = await serverEntry(terminal, asked);
  const { manifest, bundle } = await exclusively(layout, async () => ({
    manifest: await changeManifest(layout, (before) => withServer(before, entry)),
    bundle: await changeBundle(layout, (before) => allowing(before, asked.name)),
  }));
  print(terminal, `${asked.name} runs ${[entry.command, ...entry.args].map(shown).join(' ')}`);
  for (const { path } of entry.folders ?? []) print(terminal, `  pinned   ${shown(path)}`);
  if (entry.unpinned) print(terminal, '  pinned   nothing: its code may change after signing');
  const { read = [], write = [], network } = entry.grants ?? {};
  for (const path of read) print(terminal, `  reads    ${shown(path)}`);
  for (const path of write) print(terminal, `  writes   ${shown(path)}`);
  for (const { tool, effects } of asked.effects) {
    print(terminal, `  effects  ${tool}: ${effects}`);
  }
  print(terminal, `  network  ${network ? 'that of this machine' : 'none; --network grants it'}`);
  const rule = `rule ${ruleIdOf(asked.name)} allows ${asked.name}.*`;
  print(
    terminal,
    `signed manifest ${documentName(manifest)} and policy ${documentName(bundle)}: ${rule}`,
  );
  return await reportStart(terminal, settings, { name: asked.name, manifest });
}

/** Takes a server out of this installation; the bridge stops it when it reads the new manifest. */
export async function toolsRemove(
  terminal: Terminal,
  { layout }: Place,
  server: string,
): Promise<number> {
  const { manifest, bundle } = await exclusively(layout, async () => ({
    manifest: await changeManifest(layout, (before) => withoutServer(before, server)),
    bundle: await changeBundle(layout, (before) => withoutRule(before, server)),
  }));
  const left = bundle.rules.find(({ id }) => id === ruleIdOf(server));
  const names = `manifest ${documentName(manifest)} and policy ${documentName(bundle)}`;
  const rest = left === undefined ? '' : `; rule ${left.id} was changed and stays`;
  print(terminal, `removed ${server}: signed ${names} without it${rest}`);
  return EXIT_STATUS.ok;
}

function withoutServer(before: Manifest, server: string): Manifest {
  const servers = before.servers.filter(({ name }) => name !== server);
  if (servers.length < before.servers.length) return { ...before, servers };
  const known = before.servers.map(({ name }) => name).join(', ') || 'none';
  throw new ZlError('tool.unknown', `no server ${server}: the manifest has ${known}`);
}

/** A rule that a person has changed since may serve another purpose. */
function withoutRule(before: Bundle, server: string): Bundle {
  const [own] = allowing({ ...before, rules: [] }, server).rules;
  const isOwn = (rule: Bundle['rules'][number]) => isDeepStrictEqual(rule, own);
  return { ...before, rules: before.rules.filter((rule) => !isOwn(rule)) };
}

function shown(path: string): string {
  return foreignLine(/\s/.test(path) ? JSON.stringify(path) : path);
}

/** A server of the same name is replaced, which is how it is hashed again. */
function withServer(before: Manifest, entry: Manifest['servers'][number]): Manifest {
  if (before.schema === 'zerolatency.manifest/v2') {
    const why = 'under which servers run without a sandbox; sign it as v3 first';
    throw new ZlError('manifest.invalid', `the manifest has the schema ${before.schema}, ${why}`);
  }
  const others = before.servers.filter(({ name }) => name !== entry.name);
  return { ...before, servers: [...others, entry] };
}

function ruleIdOf(server: string): string {
  return `tools-${server}`;
}

/** A rule that a person has changed since stays as it is. */
function allowing(before: Bundle, server: string): Bundle {
  const id = ruleIdOf(server);
  if (before.rules.some((rule) => rule.id === id)) return before;
  const caps = { timeoutMs: 30_000, maxBytes: 1_048_576, callsPerTurn: 16 };
  const who = { tenants: [LOCAL.tenant], roles: [...LOCAL.roles] };
  const rule = { id, effect: 'allow', tools: [`${server}.*`], ...who, caps } as const;
  return { ...before, rules: [...before.rules, rule] };
}

/** The bridge reads the manifest within seconds, and a server may compile before it answers. */
const START_TIMEOUT_MS = 40_000;
const POLL_MS = 250;

async function reportStart(
  terminal: Terminal,
  { bridge }: Settings,
  added: { readonly name: string; readonly manifest: Manifest },
): Promise<number> {
  const target = { name: 'device-bridge', address: bridge.controlSocket };
  const untilMs = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const probe = await probeControlSocket(target);
    if (probe.health === 'down') {
      print(terminal, 'the bridge is not running; "zl up" starts it with the new server');
      return EXIT_STATUS.ok;
    }
    const state = stateIn(probe, added);
    if (state === 'ready') {
      print(terminal, `${added.name} is ready; "zl tools test ${added.name}" shows its tools`);
      return EXIT_STATUS.ok;
    }
    if (state === 'failed' || performance.now() > untilMs)
      return printFailure(terminal, probe, added.name);
    await delay(POLL_MS);
  }
}

/** Undefined while another manifest is in force. */
function stateIn(
  { report = {} }: Probe,
  { name, manifest }: { readonly name: string; readonly manifest: Manifest },
): unknown {
  const held = recordOf(report.manifest);
  if (held.manifestId !== documentName(manifest))
    return held.why === undefined ? undefined : 'failed';
  const servers: unknown[] = Array.isArray(report.servers) ? report.servers : [];
  return servers.map(recordOf).find((server) => server.name === name)?.state;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function printFailure(terminal: Terminal, { report }: Probe, name: string): number {
  const fault = faultsIn(report).find((one) => one.name === name || one.name === 'manifest');
  const why = fault?.why ?? `it did not start within ${START_TIMEOUT_MS / 1000} s`;
  terminal.stderr.write(`zl: ${name} does not run: ${foreignLine(why, 2_000)}\n`);
  for (const line of fault?.stderr ?? []) terminal.stderr.write(`    ${foreignLine(line)}\n`);
  return EXIT_STATUS.failed;
}

/** Shows what policy says of each tool of a server, and runs those without effects and required arguments. */
export async function toolsTest(
  terminal: Terminal,
  { layout, settings }: Place,
  server: string,
): Promise<number> {
  const device = (await listDevices(settings)).find((it) => it.deviceId === settings.deviceId);
  const found = device?.catalog?.servers.find(({ name }) => name === server);
  if (found === undefined) {
    const known = device?.catalog?.servers.map(({ name }) => name).join(', ') || 'none';
    const reason =
      device === undefined ? `device ${settings.deviceId} is not connected` : `it has ${known}`;
    throw new ZlError('tool.unknown', `no server ${server}: ${reason}`);
  }
  if (found.tools.length === 0) {
    const state = ServerState[found.state].toLowerCase();
    throw new ZlError('tool.server_down', `${server} offers no tools: it is ${state}`);
  }
  const paint = paintFor(terminal);
  let status: number = EXIT_STATUS.ok;
  for (const tool of found.tools) {
    const name = `${server}.${tool.name}`;
    const verdict = await verdictOn(layout, { name, effects: tool.effects, server: found });
    print(terminal, `${paint('bold', foreignLine(name))}  ${foreignLine(verdict)}`);
    const required = requiredBy(tool);
    if (tool.effects === Effects.NONE && required.length === 0) {
      const asked = { tool: name, argumentsJson: '{}', options: {} };
      status ||= await call(terminal, settings, asked);
    } else {
      const example = JSON.stringify(Object.fromEntries(required.map((key) => [key, '…'])));
      print(terminal, foreignLine(`  zl call ${name} '${example}'`));
    }
  }
  return status;
}

/** What the installed policy decides for the local user, whatever the arguments; "allowed" may still depend on them. */
async function verdictOn(
  { policy }: Layout,
  tool: { readonly name: string; readonly effects: Effects; readonly server: Server },
): Promise<string> {
  const { tenant, user, roles, deviceId } = LOCAL;
  const bundle = await readContent(POLICY_BUNDLE, policy.bundle);
  const nowMs = Date.now();
  const state = ageOf(POLICY_BUNDLE, bundle, nowMs);
  const decision = decideSomeCall(
    { content: bundle, state },
    {
      ...{ tenant, user, roles, deviceId, nowMs, callsThisTurn: 0 },
      ...{ tool: tool.name, version: tool.server.version },
      ...(tool.effects !== Effects.UNSPECIFIED && { hasEffects: tool.effects !== Effects.NONE }),
      inSandbox: tool.server.containment === Containment.SANDBOX,
    },
  );
  if (decision.effect === 'allow') return `allowed by rule ${decision.ruleId}`;
  return `withheld by policy: ${decision.reason}`;
}

function requiredBy({ inputSchemaJson }: Tool): string[] {
  const { required } = recordOf(JSON.parse(inputSchemaJson || '{}'));
  return Array.isArray(required) ? required.map(String) : [];
}
