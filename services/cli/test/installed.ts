import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { createInstallation } from '../src/installation/create.ts';
import { type Layout, layoutOf } from '../src/installation/layout.ts';
import { runProgram } from '../src/program.ts';
import type { Settings } from '../src/settings.ts';
import { enrolWithoutRegistrar } from './enrolled.ts';
import { type FakeTerminal, type FakeTerminalOptions, fakeTerminal } from './fake-terminal.ts';

export interface Installed {
  readonly layout: Layout;
  /** A small file instead of Node, which takes long to hash. */
  readonly nodePath: string;
  readonly dir: string;
  /** Changes the addresses that `zl` uses. */
  point(to: Pointers): Promise<void>;
  zl(args: readonly string[], options?: FakeTerminalOptions): Promise<Ran>;
}

type Pointers = {
  readonly [Group in 'host' | 'relay' | 'registrar' | 'bridge']?: Partial<Settings[Group]>;
};

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function installed(t: TestContext): Promise<Installed> {
  const dir = tempDir(t);
  const nodePath = join(dir, 'node');
  await writeFile(nodePath, 'not really');
  const layout = layoutOf(join(dir, '.zl'));
  await createInstallation(layout);
  await enrolWithoutRegistrar(layout);
  const zl: Installed['zl'] = (args, options = {}) =>
    runZl(fakeTerminal({ cwd: dir, nodePath, ...options }), args);
  const point: Installed['point'] = async ({ host, relay, registrar, bridge }) => {
    const settings = JSON.parse(await readFile(layout.settings, 'utf8'));
    Object.assign(settings.host, host);
    Object.assign(settings.relay, relay);
    Object.assign(settings.registrar, registrar);
    Object.assign(settings.bridge, bridge);
    await writeFile(layout.settings, JSON.stringify(settings));
  };
  return { layout, nodePath, dir, point, zl };
}

export async function runZl(terminal: FakeTerminal, args: readonly string[]): Promise<Ran> {
  const status = await runProgram(args, terminal);
  return { status, stdout: terminal.output(), stderr: terminal.errors() };
}
