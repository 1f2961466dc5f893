import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CallOutcome, type ChatEvent } from '@zerolatency/proto/agent';
import { eventually, tempDir } from '@zerolatency/testing';
import { ChatStream } from '../../services/cli/src/chat/session.ts';
import { chatTarget } from '../../services/cli/src/commands/chat.ts';
import { probeAll } from '../../services/cli/src/commands/status.ts';
import { createInstallation } from '../../services/cli/src/installation/create.ts';
import { type Layout, layoutOf } from '../../services/cli/src/installation/layout.ts';
import {
  programOf,
  runningPid,
  SERVICES,
  type Service,
  startService,
  stopService,
} from '../../services/cli/src/installation/processes.ts';
import { readSettings, type Settings } from '../../services/cli/src/settings.ts';
import type { Terminal } from '../../services/cli/src/terminal.ts';
import { enrolWithoutRegistrar } from '../../services/cli/test/enrolled.ts';
import { configOf, editConfig } from './effects.ts';
import { stopWithTests } from './installed-processes.ts';

const run = promisify(execFile);

/** Starting takes a second or two, and much longer on a busy machine. */
const START_TIMEOUT_MS = 60_000;

/** The services as processes of their own, installed into a folder of their own. */
export interface System {
  readonly layout: Layout;
  readonly settings: Settings;
  start(service: Service): Promise<unknown>;
  kill(service: Service): Promise<void>;
  stop(service: Service): Promise<string>;
  healthy(): Promise<void>;
  chat(options?: { readonly deviceId?: string }): Promise<ChatStream>;
  zl(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }>;
  log(service: Service): Promise<string>;
}

/** A test, or a program that cleans up as tests do. */
export interface Lifetime {
  after(fn: () => unknown): void;
}

export interface SystemOptions {
  /** Changes the installation before anything starts. */
  readonly prepare?: (layout: Layout) => Promise<void>;
  /** What to start; calls need no registrar. */
  readonly services?: readonly Service[];
  /** The folder of the bundles to start. */
  readonly programs?: string;
  /** Run the bridge as `zl up` does, under a supervisor that restarts it. */
  readonly isSupervised?: boolean;
}

/** Where scripts/test.ts bundles the services before it runs these tests. */
export const bundles = join(import.meta.dirname, '../../dist');

export function mainOf(service: Service, programs = bundles): string {
  return join(programs, programOf(service), 'main.mjs');
}

/** What a call passes. */
export const CALL_SERVICES = ['tool-relay', 'model-host', 'device-bridge'] as const;

export async function installPrograms(layout: Layout): Promise<void> {
  await createInstallation(layout);
  await enrolWithoutRegistrar(layout);
}

export async function startSystem(t: Lifetime, options: SystemOptions = {}): Promise<System> {
  const sessions: ChatStream[] = [];
  let system: System | undefined;
  // Registered before the folder's removal, because hooks run in that order.
  t.after(async () => {
    for (const session of sessions) session.close();
    for (const service of [...SERVICES].reverse()) await system?.stop(service);
  });
  const layout = layoutOf(join(tempDir(t), '.zl'));
  stopWithTests(layout.home);
  const { programs = bundles, isSupervised = false, services = CALL_SERVICES } = options;
  await installPrograms(layout);
  // Without a registrar a relay calls itself degraded after a minute.
  if (!services.includes('registrar')) await followNobody(layout);
  await options.prepare?.(layout);
  const settings = await readSettings(layout.settings);
  system = systemOf(layout, { settings, sessions, programs, services, isSupervised });
  for (const service of services) await system.start(service);
  await system.healthy();
  return system;
}

async function followNobody({ relay, host }: Layout): Promise<void> {
  const { revocations } = await configOf(relay.config);
  await editConfig(relay.config, { revocations: { ...revocations, registrarUrl: undefined } });
  const own = (await configOf(host.config)).relay;
  const kept = { ...own.revocations, registrarUrl: undefined };
  await editConfig(host.config, { relay: { ...own, revocations: kept } });
}

interface SystemParts {
  readonly programs: string;
  readonly isSupervised: boolean;
  readonly services: readonly Service[];
  readonly settings: Settings;
  readonly sessions: ChatStream[];
}

function systemOf(layout: Layout, parts: SystemParts): System {
  const { settings, sessions, programs, services, isSupervised } = parts;
  return {
    layout,
    settings,
    start: (service) =>
      startService(terminal, layout, {
        service,
        main: mainOf(service, programs),
        isSupervised: isSupervised && service === 'device-bridge',
      }),
    async kill(service) {
      const pid = await runningPid(layout, service);
      if (pid === undefined) throw new Error(`${service} is not running`);
      process.kill(pid, 'SIGKILL');
      await eventually(async () => (await runningPid(layout, service)) === undefined);
    },
    stop: (service) => stopService(terminal, layout, { service, deadlineMs: 20_000 }),
    async healthy() {
      const allOk = async () =>
        (await probeAll(settings))
          .filter(({ name }) => services.some((service) => service === name))
          .every(({ health }) => health === 'ok');
      await eventually(allOk, { timeoutMs: START_TIMEOUT_MS, everyMs: 50 });
    },
    async chat({ deviceId } = {}) {
      const target = await chatTarget(settings, deviceId === undefined ? {} : { device: deviceId });
      const session = new ChatStream(target);
      sessions.push(session);
      return session;
    },
    zl: (...args) => runZl(layout, args),
    log: (service) => readFile(layout.log(service), 'utf8'),
  };
}

export async function runZl(
  layout: Layout,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
) {
  const zl = join(import.meta.dirname, '../../zl');
  try {
    const { stdout, stderr } = await run(zl, ['--home', layout.home, ...args], {
      env: { ...process.env, ...env },
    });
    return { status: 0, stdout, stderr };
  } catch (reason) {
    // execFile rejects on a status that is not 0, with the output on the error.
    const failed = reason as { code: number; stdout: string; stderr: string };
    return { status: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

export const terminal: Terminal = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  nodePath: process.execPath,
  onInterrupt: () => () => {},
  signalProcess: (pid, signal) => process.kill(pid, signal),
};

export interface Call {
  readonly outcome: string;
  readonly errorId: string;
  readonly errorMessage: string;
  readonly resultJson: string;
  readonly receiptJson: string;
}

/** The result of a turn. */
export interface Turn {
  readonly events: readonly ChatEvent[];
  readonly text: string;
  readonly calls: readonly Call[];
  /** `done`, or the id of the error it ended with. */
  readonly ending: string;
}

export async function runTurn(
  session: ChatStream,
  text: string,
  onEvent: (event: ChatEvent) => void = () => {},
): Promise<Turn> {
  const events: ChatEvent[] = [];
  for await (const event of session.turn(text)) {
    events.push(event);
    onEvent(event);
  }
  const of = <T>(read: (event: ChatEvent['event']) => T | undefined): T[] =>
    events.flatMap(({ event }) => read(event) ?? []);
  return {
    events,
    text: of((e) => (e.case === 'assistantDelta' ? e.value.text : undefined)).join(''),
    calls: of((e) =>
      e.case === 'toolCallDone'
        ? {
            outcome: CallOutcome[e.value.outcome] ?? '',
            errorId: e.value.error?.id ?? '',
            errorMessage: e.value.error?.message ?? '',
            resultJson: e.value.resultJson,
            receiptJson: e.value.receiptJson,
          }
        : undefined,
    ),
    ending:
      of((e) =>
        e.case === 'assistantDone' ? 'done' : e.case === 'error' ? e.value.id : undefined,
      )[0] ?? 'none',
  };
}

/** Calls a tool in a new chat. Needs the scripted model of effects.ts. */
export async function callTool(system: System, tool: string, args: object): Promise<Call> {
  const session = await system.chat();
  try {
    return await callIn(session, tool, args);
  } finally {
    session.close();
  }
}

/** For many calls: every new chat connects, and the host limits how often an address does. */
export async function callIn(session: ChatStream, tool: string, args: object): Promise<Call> {
  const { calls } = await runTurn(session, `call ${tool} ${JSON.stringify(args)}`);
  if (calls[0] === undefined) throw new Error('the model called nothing');
  return calls[0];
}
