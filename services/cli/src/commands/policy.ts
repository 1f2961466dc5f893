import { type Bundle, POLICY_BUNDLE, type PolicyRequest } from '@zerolatency/policy';
import { foreignLine } from '@zerolatency/redaction';
import { ageOf } from '@zerolatency/signing';
import { diffBundles, fieldChanges } from '../policy/diff-bundles.ts';
import { explain } from '../policy/explain.ts';
import { type LintWarning, lintBundle } from '../policy/lint-bundle.ts';
import { EXIT_STATUS, paintFor, print, printJson, type Terminal } from '../terminal.ts';
import {
  readContent,
  type SignOptions,
  showFile,
  signFile,
  type VerifyOptions,
  verifyFile,
} from './signed-file.ts';

interface Output {
  readonly json?: boolean;
}

export function policySign(
  terminal: Terminal,
  file: string,
  options: SignOptions,
): Promise<number> {
  const warningsOf = async (bundle: Bundle) =>
    lintBundle(bundle, { nowMs: Date.now() }).map(lineOf);
  return signFile(terminal, POLICY_BUNDLE, file, { ...options, warningsOf });
}

export function policyVerify(
  terminal: Terminal,
  file: string,
  options: VerifyOptions,
): Promise<number> {
  const show = ({ expiresAt }: Bundle) => ({ until: expiresAt, fields: { expiresAt } });
  return verifyFile(terminal, POLICY_BUNDLE, file, { ...options, show });
}

const COLOURS = { allow: 'green', deny: 'red', escalate: 'yellow' } as const;

/** Why a request is allowed, denied or escalated, rule by rule. */
export async function policyExplain(
  terminal: Terminal,
  file: string,
  options: Output & { readonly request: PolicyRequest },
): Promise<number> {
  const bundle = await readContent(POLICY_BUNDLE, file);
  const state = ageOf(POLICY_BUNDLE, bundle, options.request.nowMs);
  const { decision, rules } = explain(bundle, options.request, state);
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

export async function policyLint(
  terminal: Terminal,
  file: string,
  options: Output,
): Promise<number> {
  const bundle = await readContent(POLICY_BUNDLE, file);
  const warnings = lintBundle(bundle, { nowMs: Date.now() });
  if (options.json) printJson(terminal, { warnings });
  else if (warnings.length === 0) print(terminal, 'no warnings');
  else for (const warning of warnings) print(terminal, foreignLine(lineOf(warning)));
  return warnings.length === 0 ? EXIT_STATUS.ok : EXIT_STATUS.failed;
}

function lineOf({ ruleId, message }: LintWarning): string {
  return `${ruleId ?? 'bundle'}: ${message}`;
}

export async function policyDiff(
  terminal: Terminal,
  files: { readonly before: string; readonly after: string },
  options: Output,
): Promise<number> {
  const [before, after] = await Promise.all([
    readContent(POLICY_BUNDLE, files.before),
    readContent(POLICY_BUNDLE, files.after),
  ]);
  const difference = diffBundles(before, after);
  if (options.json) {
    printJson(terminal, difference);
    return EXIT_STATUS.ok;
  }
  printDifference(terminal, difference);
  return EXIT_STATUS.ok;
}

export function printDifference(
  terminal: Terminal,
  difference: ReturnType<typeof diffBundles>,
): void {
  const change = (name: string, was: unknown, is: unknown) =>
    print(terminal, foreignLine(`~ ${name}: ${JSON.stringify(was)} -> ${JSON.stringify(is)}`));
  for (const { field, before: was, after: is } of difference.header) change(field, was, is);
  for (const { id, effect } of difference.added) print(terminal, `+ ${id} (${effect})`);
  for (const { id, effect } of difference.removed) print(terminal, `- ${id} (${effect})`);
  for (const { id, before: was, after: is } of difference.changed) {
    for (const { field, ...values } of fieldChanges(was, is)) {
      change(`${id} ${field}`, values.before, values.after);
    }
  }
}

export function printWarnings(terminal: Terminal, bundle: Bundle): void {
  for (const warning of lintBundle(bundle, { nowMs: Date.now() })) {
    terminal.stderr.write(`warning: ${foreignLine(lineOf(warning))}\n`);
  }
}

export function policyShow(terminal: Terminal, file: string): Promise<number> {
  return showFile(terminal, POLICY_BUNDLE, file);
}
