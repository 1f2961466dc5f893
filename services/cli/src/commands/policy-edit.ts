import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { ZlError } from '@zerolatency/errors';
import { type Bundle, POLICY_BUNDLE } from '@zerolatency/policy';
import { canonicalText, documentName } from '@zerolatency/signing';
import { changeBundle, ownBundle } from '../installation/change.ts';
import { exclusively } from '../installation/exclusive.ts';
import type { Layout } from '../installation/layout.ts';
import { diffBundles } from '../policy/diff-bundles.ts';
import { EXIT_STATUS, print, readable, type Terminal } from '../terminal.ts';
import { printDifference, printWarnings } from './policy.ts';
import { readContent } from './signed-file.ts';

/** Opens the bundle of this installation in an editor, shows what changes, signs and installs it. */
export async function policyEdit(
  terminal: Terminal,
  layout: Layout,
  given: string | undefined,
): Promise<number> {
  const { content: before } = await ownBundle(layout);
  const file = given === undefined ? await copyOf(layout, before) : resolve(terminal.cwd, given);
  await edit(terminal, file);
  const edited = await readEdited(file);
  if (contentOf(edited) === contentOf(before)) {
    print(terminal, `nothing changed in ${documentName(before)}`);
    if (given === undefined) await rm(dirname(file), { recursive: true });
    return EXIT_STATUS.ok;
  }
  printWarnings(terminal, edited);
  printDifference(terminal, diffBundles(before, { ...edited, ...headOf(before) }));
  if (!(await isConfirmed(terminal, before))) {
    print(terminal, `not installed; continue with "zl policy edit ${file}"`);
    return EXIT_STATUS.failed;
  }
  const installed = await exclusively(layout, () =>
    changeBundle(layout, (now) => {
      if (now.version === before.version) return edited;
      const moved = `${documentName(now)} was installed meanwhile`;
      throw new ZlError('policy.invalid', `${moved}; continue with "zl policy edit ${file}"`);
    }),
  );
  print(terminal, `signed and installed ${documentName(installed)}; host and bridge apply it now`);
  if (given === undefined) await rm(dirname(file), { recursive: true });
  return EXIT_STATUS.ok;
}

/** Stays inside the installation, so that a refused draft is easy to find. */
async function copyOf({ home }: Layout, bundle: Bundle): Promise<string> {
  const file = join(await mkdtemp(join(home, 'policy-draft-')), 'bundle.json');
  await writeFile(file, `${readable(bundle)}\n`, { mode: 0o600 });
  return file;
}

/** The variables that other programs read for an editor, which may hold arguments. */
async function edit({ env }: Terminal, file: string): Promise<void> {
  const editor = env.VISUAL || env.EDITOR || 'vi';
  const child = spawn('/bin/sh', ['-c', `${editor} "$1"`, 'zl', file], { stdio: 'inherit' });
  const [code, signal] = await once(child, 'exit');
  if (code === 0) return;
  const ending = signal === null ? `exited with ${code}` : `was ended by ${signal}`;
  throw new ZlError(
    'config.invalid',
    `the editor (${editor}) ${ending}; set EDITOR to another one`,
  );
}

/** What a person wrote is kept when it cannot be read. */
async function readEdited(file: string): Promise<Bundle> {
  try {
    return await readContent(POLICY_BUNDLE, file);
  } catch (cause) {
    if (!(cause instanceof ZlError)) throw cause;
    const message = `${cause.message}; continue with "zl policy edit ${file}"`;
    throw new ZlError(cause.id, message, { cause });
  }
}

/** A version, its date and its predecessor are set when it is signed. */
function contentOf({ version: _, issuedAt: __, previousDigest: ___, ...content }: Bundle): string {
  return canonicalText(content);
}

function headOf({ version, issuedAt, previousDigest }: Bundle) {
  return { version, issuedAt, ...(previousDigest !== undefined && { previousDigest }) };
}

/** A script that sets its own editor has decided already. */
async function isConfirmed({ stdin, stdout }: Terminal, before: Bundle): Promise<boolean> {
  if (stdin.isTTY !== true) return true;
  const lines = createInterface({ input: stdin, output: stdout });
  try {
    const question = `Sign and install ${before.id}@${before.version + 1}? [y/N] `;
    return /^y(es)?$/i.test((await lines.question(question)).trim());
  } finally {
    lines.close();
  }
}
