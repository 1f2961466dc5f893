import { type Bundle, type Decision, POLICY_BUNDLE, type PolicyRequest } from '@zerolatency/policy';
import {
  ageOf,
  checkDocument,
  documentName,
  signDocument,
  signerFromPem,
  verifyDocument,
} from '@zerolatency/signing';
import { foreignLine } from '../foreign-text.ts';
import { readDocument, readKeys, readText } from '../input.ts';
import { writePublic } from '../installation/private-file.ts';
import { diffBundles } from '../policy/diff-bundles.ts';
import { explain } from '../policy/explain.ts';
import { lintBundle } from '../policy/lint-bundle.ts';
import { EXIT_STATUS, paintFor, print, printJson, readable, type Terminal } from '../terminal.ts';

interface Output {
  readonly json?: boolean;
}

export async function policySign(
  terminal: Terminal,
  file: string,
  options: { readonly key: string; readonly out: string },
): Promise<number> {
  const bundle = await readBundle(file);
  const signer = signerFromPem(await readText(options.key));
  await writePublic(options.out, await signDocument(POLICY_BUNDLE, bundle, [signer]));
  for (const { ruleId, message } of lintBundle(bundle, { nowMs: Date.now() })) {
    terminal.stderr.write(`warning: ${ruleId ?? 'bundle'}: ${foreignLine(message)}\n`);
  }
  print(terminal, `signed ${documentName(bundle)} with ${signer.keyid} into ${options.out}`);
  return EXIT_STATUS.ok;
}

export async function policyVerify(
  terminal: Terminal,
  file: string,
  options: Output & { readonly keys: string },
): Promise<number> {
  const [envelope, keys] = await Promise.all([readText(file), readKeys(options.keys)]);
  const verified = verifyDocument(POLICY_BUNDLE, envelope, { keys, nowMs: Date.now() });
  if ('error' in verified) {
    if (!options.json) throw verified.error;
    const { id, message } = verified.error;
    printJson(terminal, { valid: false, error: { id, message } });
    return EXIT_STATUS.failed;
  }
  const { content, digest, keyids } = verified;
  const { id, version, expiresAt } = content;
  if (options.json) {
    printJson(terminal, { valid: true, id, version, digest, keyids, expiresAt });
  } else {
    print(terminal, `${id}@${version} is valid until ${expiresAt}`);
    print(terminal, `  digest  ${digest}\n  signed  ${keyids.join(', ')}`);
  }
  return EXIT_STATUS.ok;
}

const COLOURS = { allow: 'green', deny: 'red', escalate: 'yellow' } as const;

/** Why a request is allowed, denied or escalated, rule by rule. */
export async function policyExplain(
  terminal: Terminal,
  file: string,
  options: Output & { readonly request: PolicyRequest },
): Promise<number> {
  const bundle = await readBundle(file);
  const state = ageOf(POLICY_BUNDLE, bundle, options.request.nowMs);
  const { rules, ...explained } = explain(bundle, options.request, { inGrace: state === 'stale' });
  const decision = state === 'expired' ? expiredDecision(bundle) : explained.decision;
  if (options.json) {
    printJson(terminal, { state, decision, rules });
  } else {
    const paint = paintFor(terminal);
    const colour = COLOURS[decision.effect];
    const why = decision.effect === 'allow' ? `rule ${decision.ruleId}` : decision.reason;
    print(terminal, `${paint(colour, decision.effect)}: ${why}`);
    for (const { id, effect, matched, reasons } of rules) {
      print(terminal, `  ${matched ? 'matches' : 'does not match'}  ${id} (${effect})`);
      for (const { matched: held, detail } of reasons) {
        print(terminal, `    ${held ? '✓' : '✗'} ${foreignLine(detail)}`);
      }
    }
  }
  return decision.effect === 'allow' ? EXIT_STATUS.ok : EXIT_STATUS.failed;
}

/** The decision of a host and a bridge, whatever the rules say. */
function expiredDecision(bundle: Bundle): Decision {
  const reason = `policy bundle ${documentName(bundle)} expired at ${bundle.expiresAt}`;
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.unavailable' };
}

export async function policyLint(
  terminal: Terminal,
  file: string,
  options: Output,
): Promise<number> {
  const warnings = lintBundle(await readBundle(file), { nowMs: Date.now() });
  if (options.json) printJson(terminal, { warnings });
  else if (warnings.length === 0) print(terminal, 'no warnings');
  else
    for (const w of warnings) print(terminal, foreignLine(`${w.ruleId ?? 'bundle'}: ${w.message}`));
  return warnings.length === 0 ? EXIT_STATUS.ok : EXIT_STATUS.failed;
}

export async function policyDiff(
  terminal: Terminal,
  files: { readonly before: string; readonly after: string },
  options: Output,
): Promise<number> {
  const [before, after] = await Promise.all([readBundle(files.before), readBundle(files.after)]);
  const difference = diffBundles(before, after);
  if (options.json) {
    printJson(terminal, difference);
    return EXIT_STATUS.ok;
  }
  const change = (name: string, was: unknown, is: unknown) =>
    print(terminal, foreignLine(`~ ${name}: ${JSON.stringify(was)} -> ${JSON.stringify(is)}`));
  for (const { field, before: was, after: is } of difference.header) change(field, was, is);
  for (const { id, effect } of difference.added) print(terminal, `+ ${id} (${effect})`);
  for (const { id, effect } of difference.removed) print(terminal, `- ${id} (${effect})`);
  for (const { id, fields, before: was, after: is } of difference.changed) {
    for (const field of fields) change(`${id} ${field}`, was[field], is[field]);
  }
  return EXIT_STATUS.ok;
}

/** The content of a signed bundle, to read or to base the next one on. */
export async function policyShow(terminal: Terminal, file: string): Promise<number> {
  print(terminal, readable(await readBundle(file)));
  return EXIT_STATUS.ok;
}

/** A bundle as a person wrote it, or the content of an envelope (whose signature is not checked). */
async function readBundle(file: string): Promise<Bundle> {
  const checked = checkDocument(POLICY_BUNDLE, await readDocument(file, 'policy.invalid'));
  if ('error' in checked) throw checked.error;
  return checked.content;
}
