import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseDurationMs } from '@zerolatency/service/config';
import { tempDir } from '@zerolatency/testing';
import settings from '../../../contracts/config/device-bridge.schema.json' with { type: 'json' };
import { makeRig } from './bridge-rig.ts';

const project = join(import.meta.dirname, '../../..');
const read = (name: string) => readFileSync(join(project, 'deploy/service', name), 'utf8');
const main = join(project, 'services/device-bridge/src/main.ts');
const unit = read('zerolatency-bridge.service');
const drainMs = parseDurationMs(settings.properties.drain.properties.deadline.default);

/** The command line with the paths of this machine, whose configuration is in the file. */
function here(
  t: TestContext,
  commandLine: string,
): { readonly line: string; readonly config: string } {
  const config = join(tempDir(t), 'bridge.yaml');
  const line = commandLine
    .replace('/opt/zero-latency/bin/node', process.execPath)
    .replace('/opt/zero-latency/device-bridge/main.mjs', main)
    .replace(/\S+\/bridge\.yaml/, config);
  return { line, config };
}

/** The bridge understands these arguments and reads the file that they name. */
async function starts(t: TestContext, commandLine: string): Promise<void> {
  const rig = await makeRig(t, { servers: () => [] });
  const { line, config } = here(t, commandLine);
  const nested: Record<string, Record<string, unknown>> = {};
  for (const [name, value] of Object.entries(rig.settings)) {
    const [group = '', key] = name.split('.');
    if (key === undefined) Object.assign(nested, { [group]: value });
    else nested[group] = { ...nested[group], [key]: value };
  }
  writeFileSync(config, JSON.stringify(nested));
  const [command = '', ...args] = [...line.split(' '), '--print-config'];
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.ok(stdout.includes(String(rig.settings.stateDir)), stdout);
}

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
const skip = hasSystemd ? false : 'needs systemd-analyze';

test('[BRG-02] systemd accepts the unit, and knows every key of it', { skip }, (t) => {
  const dir = tempDir(t);
  const file = join(dir, 'zerolatency-bridge.service');
  mkdirSync(join(dir, 'runtime'));
  writeFileSync(file, here(t, unit).line);
  const env = { PATH: process.env.PATH, XDG_RUNTIME_DIR: join(dir, 'runtime') };
  const verified = spawnSync('systemd-analyze', ['verify', '--user', file], {
    env,
    encoding: 'utf8',
  });
  assert.deepEqual([verified.status, verified.stderr], [0, '']);
});

test('[BRG-02] the unit starts the bridge, and waits for its drain', async (t) => {
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
  await starts(t, value('ExecStart'));
  assert.equal(value('Restart'), 'always');
  assert.ok(Number(value('TimeoutStopSec')) * 1_000 > drainMs);
});

test('[BRG-02] the agent of macOS starts the bridge, and waits for its drain', async (t) => {
  const { ProgramArguments: program, ...keys } = dictOf(read('org.zerolatency.bridge.plist'));
  assert.ok(Array.isArray(program));
  await starts(t, program.join(' '));
  assert.deepEqual([keys.RunAtLoad, keys.KeepAlive], [true, true]);
  assert.ok(Number(keys.ExitTimeOut) * 1_000 > drainMs);
  // In /tmp another user could make the file first.
  assert.match(String(keys.StandardErrorPath), /^\/Users\//);
});

type Value = string | true | readonly string[];

/** A property list of one flat dictionary; fails for anything else. */
function dictOf(text: string): Readonly<Record<string, Value>> {
  const [, body = ''] =
    /^<\?xml .*?\?>.*<plist version="1\.0">\s*<dict>(.*)<\/dict>\s*<\/plist>\s*$/s.exec(text) ?? [];
  const entry =
    /\s*<key>(\w+)<\/key>\s*(?:<(string|integer)>([^<&]*)<\/\2>|<(true)\/>|<array>((?:\s*<string>[^<&]*<\/string>)*)\s*<\/array>)\s*/gy;
  const entries = [...body.matchAll(entry)];
  assert.equal(entries.map(([all]) => all).join(''), body);
  return Object.fromEntries(
    entries.map(([, key = '', , plain, isTrue, list = '']): [string, Value] => {
      const items = [...list.matchAll(/<string>(.*?)<\/string>/g)].map(([, item = '']) => item);
      return [key, isTrue ? true : (plain ?? items)];
    }),
  );
}
