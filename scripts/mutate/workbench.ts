import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** One failure kills a mutant, so no test runs after it. */
const FIRST_FAILURE = `export default async function* (events) {
  for await (const { type, data } of events) if (type === 'test:fail' && !data.todo) process.exit(1);
}
`;

/** Whether a property fails is all that counts, so its smallest case is not looked for. */
const NO_SHRINKING = `import fc from 'fast-check';
fc.configureGlobal({ endOnFailure: true });
`;

/** A test that never ends is as good as one that fails. */
export type TestResult = 'passed' | 'failed' | 'timed out';

/** A copy of the repository in which one mutant at a time is tested. */
export class Workbench {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    });
    for (const path of listed.split('\0').filter((path) => path !== '' && existsSync(path))) {
      cpSync(path, join(folder, path), { verbatimSymlinks: true });
    }
    writeFileSync(join(folder, 'first-failure.mjs'), FIRST_FAILURE);
    writeFileSync(join(folder, 'no-shrinking.mjs'), NO_SHRINKING);
    // Whole: a sandbox would not show the target of a link. Our own packages are links into the copy.
    for (const packages of globSync(['node_modules', '{packages,services}/*/node_modules'])) {
      execFileSync('cp', ['-a', packages, dirname(join(folder, packages))]);
    }
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.#folder, path), text);
  }

  /** One process for all tests, which mostly load the same modules. */
  async test(tests: readonly string[], timeoutMs: number): Promise<TestResult> {
    const suite = join(this.#folder, 'suite.mjs');
    const urls = tests.map((path) => pathToFileURL(join(this.#folder, path)).href);
    const imported = ['./no-shrinking.mjs', ...urls];
    writeFileSync(suite, imported.map((url) => `import '${url}';\n`).join(''));
    const reporter = pathToFileURL(join(this.#folder, 'first-failure.mjs'));
    const flags = ['--disable-warning=ExperimentalWarning', `--test-reporter=${reporter}`];
    const child = this.#start(process.execPath, [...flags, suite]);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      endGroup(child.pid);
    }, timeoutMs);
    const status = await exitOf(child);
    clearTimeout(timer);
    if (isLate) return 'timed out';
    return status === 0 ? 'passed' : 'failed';
  }

  /** A change that only leaves something unused counts as code that compiles. */
  async compiles(): Promise<boolean> {
    const unused = ['--noUnusedLocals', 'false', '--noUnusedParameters', 'false'];
    const cache = ['--incremental', '--tsBuildInfoFile', join(this.#folder, 'tmp', 'types.json')];
    const child = this.#start('node_modules/.bin/tsc', ['-p', '.', ...unused, ...cache]);
    return (await exitOf(child)) === 0;
  }

  #start(command: string, args: readonly string[]): ChildProcess {
    const tmp = join(this.#folder, 'tmp');
    mkdirSync(tmp, { recursive: true });
    const env = { ...process.env, TMPDIR: tmp, NODE_COMPILE_CACHE: join(this.#folder, 'cache') };
    return spawn(command, args, { cwd: this.#folder, env, stdio: 'ignore', detached: true });
  }
}

/** Ends what the process left behind, too. */
async function exitOf(child: ChildProcess): Promise<unknown> {
  const [status] = await once(child, 'exit');
  endGroup(child.pid);
  return status;
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of it is left.
  }
}
