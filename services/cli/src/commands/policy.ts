import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import {
  type Bundle,
  checkBundle,
  diffBundles,
  explain,
  lintBundle,
  type PolicyRequest,
  signBundle,
  verifyBundle,
} from '@zerolatency/policy';
import { generateKeyPair, signerFromPem } from '@zerolatency/receipts';
import { writePrivate, writePublic } from '../installation/private-file.ts';
import { readKeys } from '../keys/read-keys.ts';
import { paintFor } from '../paint.ts';
import { exitStatus, print, printJson, type Terminal } from '../terminal.ts';

interface Output {
  readonly json?: boolean;
}

/** Makes a key pair; refuses to overwrite one. */
export async function policyKeygen(terminal: Terminal, options: { out: string }): Promise<number> {
  await mkdir(options.out, { recursive: true, mode: 0o700 });
  if ((await readdir(options.out)).some((name) => name.endsWith('.pem'))) {
    throw new ZlError('config.invalid', `${options.out} holds keys already; name an empty folder`);
  }
  const { keyid, privatePem, publicPem } = generateKeyPair();
  await writePrivate(join(options.out, 'private.pem'), privatePem);
  await writePublic(join(options.out, 'keys', `${keyid}.pem`), publicPem);
  print(terminal, `key ${keyid}`);
  print(terminal, `  private  ${join(options.out, 'private.pem')}  (keep it; it signs)`);
  print(
    terminal,
    `  public   ${join(options.out, 'keys', `${keyid}.pem`)}  (hosts and bridges trust it)`,
  );
  return exitStatus.ok;
}

export async function policySign(
  terminal: Terminal,
  file: string,
  options: { readonly key: string; readonly out: string },
): Promise<number> {
  const bundle = await readBundleSource(file);
  const signer = signerFromPem(await readFile(options.key, 'utf8'));
  await writePublic(options.out, await signBundle(bundle, [signer]));
  for (const { ruleId, message } of lintBundle(bundle, { nowMs: Date.now() })) {
    terminal.stderr.write(`warning: ${ruleId ?? 'bundle'}: ${message}\n`);
  }
  print(terminal, `signed ${bundle.id}@${bundle.version} with ${signer.keyid} into ${options.out}`);
  return exitStatus.ok;
}

export async function policyVerify(
  terminal: Terminal,
  file: string,
  options: Output & { readonly keys: string },
): Promise<number> {
  const verified = verifyBundle(await readFile(file, 'utf8'), {
    keys: await readKeys(options.keys),
    nowMs: Date.now(),
  });
  if ('error' in verified) throw verified.error;
  const { bundle, digest, keyids } = verified;
  const { id, version, expiresAt } = bundle;
  if (options.json) {
    printJson(terminal, { valid: true, id, version, digest, keyids, expiresAt });
  } else {
    print(terminal, `${id}@${version} is valid until ${expiresAt}`);
    print(terminal, `  digest  ${digest}\n  signed  ${keyids.join(', ')}`);
  }
  return exitStatus.ok;
}

/** Why a request is allowed or denied, rule by rule. */
export async function policyExplain(
  terminal: Terminal,
  file: string,
  options: Output & { readonly request: PolicyRequest },
): Promise<number> {
  const explained = explain(await readBundleSource(file), options.request);
  const { decision, rules } = explained;
  if (options.json) {
    printJson(terminal, explained);
  } else {
    const paint = paintFor(terminal);
    const colour = decision.effect === 'allow' ? 'green' : 'red';
    const why = decision.effect === 'allow' ? `rule ${decision.ruleId}` : decision.reason;
    print(terminal, `${paint(colour, decision.effect)}: ${why}`);
    for (const { id, effect, matched, reasons } of rules) {
      print(terminal, `  ${matched ? 'matches' : 'does not match'}  ${id} (${effect})`);
      for (const { constraint, matched: held, detail } of reasons) {
        print(terminal, `    ${held ? '✓' : '✗'} ${constraint}: ${detail}`);
      }
    }
  }
  return decision.effect === 'allow' ? exitStatus.ok : exitStatus.failed;
}

export async function policyLint(
  terminal: Terminal,
  file: string,
  options: Output,
): Promise<number> {
  const warnings = lintBundle(await readBundleSource(file), { nowMs: Date.now() });
  if (options.json) printJson(terminal, { warnings });
  else if (warnings.length === 0) print(terminal, 'nothing to say against it');
  else for (const w of warnings) print(terminal, `${w.ruleId ?? 'bundle'}: ${w.message}`);
  return warnings.length === 0 ? exitStatus.ok : exitStatus.failed;
}

export async function policyDiff(
  terminal: Terminal,
  files: { readonly before: string; readonly after: string },
  options: Output,
): Promise<number> {
  const [before, after] = await Promise.all([
    readBundleSource(files.before),
    readBundleSource(files.after),
  ]);
  const difference = diffBundles(before, after);
  if (options.json) {
    printJson(terminal, difference);
    return exitStatus.ok;
  }
  for (const { field, before: was, after: is } of difference.header) {
    print(terminal, `~ ${field}: ${JSON.stringify(was)} -> ${JSON.stringify(is)}`);
  }
  for (const { id, effect } of difference.added) print(terminal, `+ ${id} (${effect})`);
  for (const { id, effect } of difference.removed) print(terminal, `- ${id} (${effect})`);
  for (const { id, fields } of difference.changed) print(terminal, `~ ${id}: ${fields.join(', ')}`);
  return exitStatus.ok;
}

/** A bundle as written by a person, or the one inside an envelope (whose signature is not looked at). */
async function readBundleSource(file: string): Promise<Bundle> {
  const value: unknown = JSON.parse(await readFile(file, 'utf8'));
  const payload = isEnvelope(value)
    ? JSON.parse(Buffer.from(value.payload, 'base64').toString('utf8'))
    : value;
  const checked = checkBundle(payload);
  if ('error' in checked) throw checked.error;
  return checked.bundle;
}

function isEnvelope(value: unknown): value is { payload: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'payload' in value &&
    typeof value.payload === 'string'
  );
}
