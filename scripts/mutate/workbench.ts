import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** One failure kills a mutant, so no test runs after it. */
const FIRST_FAILURE = `export default async function* (events) {
  for await (const { type, data } of events) if (type === 'test:fail' && !data.todo) process.exit(1);
}
`;

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
    linkModules('node_modules', join(folder, 'node_modules'));
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.#folder, path), text);
  }

  /** Whether all tests pass. A mutant that never ends is as dead as one that fails. */
  async passes(tests: readonly string[], timeoutMs: number): Promise<boolean> {
    const suite = join(this.#folder, 'suite.mjs');
    const urls = tests.map((path) => pathToFileURL(join(this.#folder, path)).href);
    writeFileSync(suite, urls.map((url) => `import '${url}';\n`).join(''));
    const tmp = join(this.#folder, 'tmp');
    mkdirSync(tmp, { recursive: true });
    const child = spawn(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        `--test-reporter=${pathToFileURL(join(this.#folder, 'first-failure.mjs'))}`,
        suite,
      ],
      { cwd: this.#folder, env: { ...process.env, TMPDIR: tmp }, stdio: 'ignore', detached: true },
    );
    const ended = once(child, 'exit');
    const timer = setTimeout(() => endGroup(child.pid), timeoutMs);
    const [status] = await ended;
    clearTimeout(timer);
    endGroup(child.pid);
    return status === 0;
  }
}

/** Packages of others are shared; ours are the copies. */
function linkModules(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (name === '@zerolatency') {
      cpSync(join(from, name), join(to, name), { recursive: true, verbatimSymlinks: true });
    } else {
      symlinkSync(resolve(from, name), join(to, name));
    }
  }
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of it is left.
  }
}
