import { setTimeout as sleep } from 'node:timers/promises';
import type { Tracer } from '@opentelemetry/api';
import { fromLocal } from '@zerolatency/errors';
import { foreignText } from '@zerolatency/redaction';
import { type ConfigSources, programHelp, readCommandLine } from '../config/index.ts';
import {
  createLogger,
  createRegistry,
  type Logger,
  maskedSecrets,
  openTelemetry,
  type Registry,
} from '../telemetry/index.ts';
import { type ConfigChecks, runConfigChecks } from './config-checks.ts';
import type { Lifecycle } from './lifecycle.ts';
import { runService, type SignalSource } from './run-service.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface ProgramConfig {
  /** The effective configuration as text, without secrets. */
  readonly printable: string;
  readonly log: { readonly level: string };
  readonly drain: { readonly deadlineMs: number };
}

export interface Program<Config extends ProgramConfig> {
  readonly service: string;
  /** The name of its role in logs, metrics and traces; that of the program by default. */
  readonly nameOf?: (config: Config) => string;
  readonly version: string;
  /** The variable that names the configuration file. */
  readonly configEnv: string;
  readonly readConfig: (sources: ConfigSources) => Config;
  /** What a start would need of this machine, for --check-config. */
  readonly checks: (config: Config, env: Env) => Promise<ConfigChecks>;
  /** Work other than serving, by the first word of its command line. Returns the exit code. */
  readonly commands?: Readonly<
    Record<string, (args: readonly string[], own: ProgramProcess) => Promise<number>>
  >;
  /** Loads the rest of the program and starts it, so that --print-config does without it. */
  readonly start: (config: Config, deps: ProgramDeps) => Promise<void>;
}

export interface ProgramDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly tracer: Tracer;
  readonly env: Env;
  /** Prints these fields as one JSON line once the service is ready. Only the first call counts. */
  readonly announce: (fields: object) => void;
}

export interface ProgramProcess extends MainProcess, SignalSource {
  readonly argv: readonly string[];
  readonly env: Env;
  readonly stdout: { write(text: string): unknown };
  /** Where the parent listens, as a supervisor does. */
  send?(message: 'ready', onSent: (error: Error | null) => void): unknown;
  exit(code: number): unknown;
}

/** Left for the last spans and lines where draining took all of its time. */
const MIN_FLUSH_MS = 500;

/** Runs a service from its command line to its exit code. */
export function runProgram<Config extends ProgramConfig>(
  own: ProgramProcess,
  program: Program<Config>,
): Promise<void> {
  return runMain(own, async () => {
    const { service, configEnv } = program;
    const args = own.argv.slice(2);
    const [word = '', ...rest] = args;
    const command = program.commands?.[word];
    if (command !== undefined) return command(rest, own);
    if (args.includes('--help')) {
      own.stdout.write(`${programHelp(service, Object.keys(program.commands ?? {}))}\n`);
      return 0;
    }
    const { sources, printConfig, checkConfig } = await readCommandLine(args, {
      program: service,
      configEnv,
      env: own.env,
    });
    const config = program.readConfig(sources);
    if (checkConfig) return runConfigChecks(await program.checks(config, own.env), own.stdout);
    if (!printConfig) return serve(own, { program, config });
    own.stdout.write(config.printable);
    return 0;
  });
}

async function serve<Config extends ProgramConfig>(
  own: ProgramProcess,
  { program, config }: { program: Program<Config>; config: Config },
): Promise<number> {
  const { version } = program;
  const service = program.nameOf?.(config) ?? program.service;
  const { env } = own;
  const registry = createRegistry({ service, version });
  const telemetry = await openTelemetry({ service, version, registry, env });
  const log = createLogger({
    service,
    version,
    level: config.log.level,
    onMasked: maskedSecrets(registry),
    ...(telemetry.sendLog && { forward: telemetry.sendLog }),
  });
  let drainsFromMs = performance.now();
  const exitCode = await runService({
    signals: own,
    deadlineMs: config.drain.deadlineMs,
    log,
    start: (lifecycle) => {
      lifecycle.onChange((state) => {
        if (state === 'draining') drainsFromMs = performance.now();
        // A supervisor that is gone by now needs no word.
        if (state === 'ready') own.send?.('ready', () => {});
      });
      const announce = announceOnce(own, lifecycle);
      const { tracer } = telemetry;
      return program.start(config, { lifecycle, log, registry, tracer, env, announce });
    },
  });
  // After everything that may still trace or log.
  const leftMs = drainsFromMs + config.drain.deadlineMs - performance.now();
  const isFlushed = await settlesWithin(telemetry.shutdown(), Math.max(MIN_FLUSH_MS, leftMs));
  // A request to a collector that does not answer would keep the process alive.
  if (!isFlushed) own.exit(exitCode);
  return exitCode;
}

async function settlesWithin(work: Promise<void>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const { signal } = timer;
  const late = sleep(ms, false, { signal }).catch(() => false);
  const isDone = await Promise.race([work.then(() => true), late]);
  timer.abort();
  return isDone;
}

function announceOnce({ stdout }: ProgramProcess, lifecycle: Lifecycle): (fields: object) => void {
  let isAnnounced = false;
  return (fields) => {
    if (isAnnounced) return;
    isAnnounced = true;
    const print = () => {
      const event = { event: 'ready', time: new Date().toISOString(), ...fields };
      stdout.write(`${JSON.stringify(event)}\n`);
    };
    if (lifecycle.accepting) return print();
    const stop = lifecycle.onChange(() => {
      if (!lifecycle.accepting) return;
      stop();
      print();
    });
  };
}

interface MainProcess {
  readonly stderr: { write(text: string): unknown };
  exitCode?: number | string | null | undefined;
}

/** Runs a program to its exit code. A failure before there is a log is printed for the person who typed the command. */
async function runMain(own: MainProcess, main: () => Promise<number>): Promise<void> {
  try {
    own.exitCode = await main();
  } catch (reason) {
    const { id, message, help, cause } = fromLocal(reason);
    // An operator needs the stack of a defect.
    const detail = id === 'internal' && cause instanceof Error ? `\n${cause.stack}` : '';
    own.stderr.write(foreignText(`${id}: ${message}${detail}\n${help}\n`));
    own.exitCode = 1;
  }
}
