import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { stopWithTests } from './installed-processes.ts';

const project = join(import.meta.dirname, '../..');
const PAGES = ['README.md', ...globSync('docs/*.md', { cwd: project }).sort()];
const NOT_COPIED = new Set(['node_modules', '.git', '.zl', 'dist', 'bench/out']);

/** Blocks that need a service manager, a package from elsewhere, the whole suite, or minutes (make scale). */
const MAX_NOT_RUN = 8;
/** Nothing is waited for longer, so that a command that does not end is one that fails. */
const MAX_PAGE_MS = 150_000;
const NOT_RUN = /^<!-- not run by the tests: .+ -->$/;
const EXAMPLES_BEGIN = '2026-11-20';
const SAVED_AS = /\bsave it as `([\w.-]+)`/i;
/** grep found no matching line. */
const FOUND_NOTHING = /status 1: grep /;
/** What a page says of a command that is meant to fail. */
const FAILS = /# (deny|refused)\b/;

interface Page {
  /** The commands, each in the line that it has in the page. */
  readonly script: string;
  readonly files: ReadonlyMap<string, string>;
  readonly notRun: number;
  readonly failing: readonly number[];
}

function parse(text: string): Page {
  const lines = text.split('\n');
  const script: string[] = [];
  const files = new Map<string, string>();
  let notRun = 0;
  for (let n = 0; n < lines.length; n++) {
    script.push('');
    const language = /^```(sh|json|js)$/.exec(lines[n]!)?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf('```', n + 1);
    const block = lines.slice(n + 1, end);
    const before = lines.slice(Math.max(0, n - 2), n);
    const isSkipped = before.some((line) => NOT_RUN.test(line));
    const file = SAVED_AS.exec(before.join('\n'))?.[1];
    if (language !== 'sh' && file !== undefined) files.set(file, block.join('\n'));
    if (isSkipped) notRun++;
    script.push(...block.map((line) => (language === 'sh' && !isSkipped ? line : '')), '');
    n = end;
  }
  const failing = script.flatMap((line, i) => (FAILS.test(line) ? i + 1 : []));
  return { script: script.join('\n'), files, notRun, failing };
}

/** The examples are of one week; a bundle lasts a month at most. Weekdays stay, because rules name them. */
function inThisWeek(text: string): string {
  const weekMs = 7 * 24 * 60 * 60 * 1000;
  const weeks = Math.floor((Date.now() - Date.parse(EXAMPLES_BEGIN)) / weekMs);
  return text.replace(/\b2026-11-\d\d\b/g, (day) =>
    new Date(Date.parse(day) + weeks * weekMs).toISOString().slice(0, 10),
  );
}

/** A copy of the project on a machine whose own Node is another one, which nothing may use. */
function newMachine(t: TestContext) {
  const home = tempDir(t);
  const dir = join(home, 'zero-latency');
  const bin = join(home, 'bin');
  mkdirSync(bin);
  for (const program of ['node', 'npx']) {
    const say = `echo "this machine's own ${program} (v20.0.0) was used" >&2`;
    writeFileSync(join(bin, program), `#!/bin/sh\n${say}\nexit 70\n`, { mode: 0o755 });
  }
  cpSync(project, dir, {
    recursive: true,
    filter: (path) => path === project || !NOT_COPIED.has(relative(project, path)),
  });
  copyPackages(dir);
  stopWithTests(dir);
  const env = { HOME: home, PATH: `${bin}:/usr/local/bin:/usr/bin:/bin` };
  const bash = (...args: readonly string[]) =>
    spawnSync('bash', args, {
      cwd: dir,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: MAX_PAGE_MS,
    });
  t.after(() => bash('-c', 'make down'));
  return { dir, bash };
}

/** As `make` leaves them: newer than every file of the project. They are no links, which would lead out of a sandbox. */
function copyPackages(dir: string): void {
  const [from, to] = [join(project, 'node_modules'), join(dir, 'node_modules')];
  const isCopied = ['-al', '-a'].some((how) => {
    rmSync(to, { recursive: true, force: true });
    return spawnSync('cp', [how, from, to]).status === 0;
  });
  assert.ok(isCopied, 'cp -a');
  rmSync(join(to, '.installed'), { force: true });
  writeFileSync(join(to, '.installed'), '');
}

test('[OPS-07] every command of every page runs as it is written', {
  timeout: 580_000,
}, async (t) => {
  const { dir, bash } = newMachine(t);
  let notRun = 0;
  for (const name of PAGES) {
    const page = parse(inThisWeek(readFileSync(join(project, name), 'utf8')));
    notRun += page.notRun;
    if (page.script.trim() === '') continue;
    await t.test(name, () => {
      const up = bash('-c', 'make up');
      assert.equal(up.status, 0, up.stdout + up.stderr);
      for (const [file, content] of page.files) writeFileSync(join(dir, file), content);
      const script = join(dir, 'commands.sh');
      const report = `trap 'echo "line $LINENO: status $?: $BASH_COMMAND" >&3' ERR`;
      writeFileSync(script, page.script.replace('\n', `${report}; exec 2>&1\n`));
      const { stdout } = bash('-c', `bash ${script} 3> ${script}.failed`);
      const failed = readFileSync(`${script}.failed`, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && !FOUND_NOTHING.test(line));
      const lines = failed.map((each) => Number(/^line (\d+):/.exec(each)?.[1]));
      assert.deepEqual(lines, page.failing, [...failed, stdout].join('\n'));
    });
  }
  assert.ok(notRun <= MAX_NOT_RUN, `${notRun} blocks are not run`);
});
