import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { eventually, tempDir } from '@zerolatency/testing';
import { runningPid, type Service } from '../../services/cli/src/installation/processes.ts';
import { CALL_SERVICES, mainOf, runTurn, type System, startSystem } from './system.ts';
import type { WalkFiles } from './walk-probe.ts';

const ROOT = join(import.meta.dirname, '../..');
const PROBE = pathToFileURL(join(import.meta.dirname, 'walk-probe.ts')).href;

/**
 * What a reader opens to follow one call. A change that needs more has cut a thought in two.
 * The last four are the journal's clock, effects, a run's receipt and a ledger that reopens.
 */
const MAX_FILES = 64;

/** Serves all code alike, or wires it, so that nobody opens it to follow a call. */
const SUPPORT = [
  /^packages\/(redaction|service|errors|identity|signing)\//,
  /^packages\/contracts\/src\/linear-pattern\.ts$/,
  /^packages\/ledger\/src\/checkpoint\.ts$/,
  /^packages\/mcp\/src\/(line-splitter|throttle)\.ts$/,
  /^services\/[^/]+\/src\/(app\.ts$|app\/|metrics\.ts$|limits\/)/,
  /^services\/model-host\/src\/(adapters\/mock-provider|console|providers)\//,
  /^services\/model-host\/src\/turn\/(budget|telemetry)\.ts$/,
  /^services\/device-bridge\/src\/servers\/semaphore\.ts$/,
];

function isOnWalk(file: string): boolean {
  return /^(packages|services)\/[^/]+\/src\//.test(file) && !SUPPORT.some((s) => s.test(file));
}

test(`one tool call passes at most ${MAX_FILES} files, from the request to the MCP server and back`, async (t) => {
  const programs = tempDir(t);
  for (const service of CALL_SERVICES) writeProgram(programs, service);
  const system = await startSystem(t, { programs });
  const chat = await system.chat();
  const call = async () => assert.equal((await runTurn(chat, 'read welcome.txt')).ending, 'done');
  // The first calls also open links, routes and catalogs.
  for (let i = 0; i < 3; i += 1) await call();

  const recorded = async () => {
    await toggle(system, filesOf(programs, 'started'));
    await call();
    return toggle(system, filesOf(programs, 'output'));
  };
  const one = await recorded();
  const others = [await recorded(), await recorded(), await recorded()];
  // What not every call passed was a timer, or a segment of the ledger that was full.
  const isOnEach = (file: string) => others.every((other) => other.has(file));
  const walk = [...one].filter((file) => isOnEach(file) && isOnWalk(file)).sort();
  t.diagnostic(`${walk.length} files`);
  assert.ok(walk.includes('packages/call/src/callee.ts'), 'nothing was recorded');
  assert.ok(walk.length <= MAX_FILES, `${walk.length} files:\n${walk.join('\n')}`);
});

/** Runs a service from its source, with the probe before it. */
function writeProgram(programs: string, service: Service): void {
  const main = mainOf(service, programs);
  mkdirSync(dirname(main), { recursive: true });
  const source = pathToFileURL(join(ROOT, 'services', service, 'src/main.ts')).href;
  const files: WalkFiles = { started: `${main}.started`, output: `${main}.output` };
  const probe = `(await import('${PROBE}')).probeWalk('${ROOT}', ${JSON.stringify(files)})`;
  writeFileSync(main, `await ${probe};\nawait import('${source}');\n`);
}

function filesOf(programs: string, which: keyof WalkFiles): string[] {
  return CALL_SERVICES.map((service) => `${mainOf(service, programs)}.${which}`);
}

/** Returns what the services wrote. */
async function toggle({ layout }: System, written: readonly string[]): Promise<Set<string>> {
  for (const file of written) rmSync(file, { force: true });
  for (const service of CALL_SERVICES) {
    const pid = await runningPid(layout, service);
    assert.ok(pid !== undefined, `${service} does not run`);
    process.kill(pid, 'SIGUSR2');
  }
  await eventually(() => written.every((file) => existsSync(file)));
  return new Set(written.flatMap((file): string[] => JSON.parse(readFileSync(file, 'utf8'))));
}
