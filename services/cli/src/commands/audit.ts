import { readdir } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import {
  type LedgerRecord,
  type LedgerReport,
  type LedgerSource,
  peekReceipt,
  type RecordBodies,
  readLedger,
  sourceOf,
  verifyLedger,
} from '@zerolatency/ledger';
import { foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import { readVerifiers } from '../audit/verify-receipt.ts';
import { readWitness, replacedBy, witnessLines } from '../audit/witnessed.ts';
import { readText } from '../input.ts';
import {
  drained,
  EXIT_STATUS,
  type Paint,
  paintFor,
  print,
  printJson,
  type Terminal,
} from '../terminal.ts';

/** Prints the records as they are; `audit verify` decides whether to believe them. */
export async function auditShow(
  terminal: Terminal,
  ledger: string | LedgerSource,
  options: { readonly json?: boolean; readonly turn?: string },
): Promise<number> {
  const paint = paintFor(terminal);
  const source = sourceOf(ledger);
  await expectLedger(ledger);
  let isShown = false;
  for await (const { record } of readLedger(source)) {
    if (options.turn !== undefined && turnOf(record) !== options.turn) continue;
    isShown = true;
    if (options.json) printJson(terminal, record);
    else print(terminal, describe(record, paint));
    await drained(terminal);
  }
  if (isShown) return EXIT_STATUS.ok;
  const which = options.turn === undefined ? 'yet' : `names turn ${options.turn}`;
  terminal.stderr.write(`zl: no record in ${source.name} ${foreignLine(which)}\n`);
  return EXIT_STATUS.failed;
}

export async function auditVerify(
  terminal: Terminal,
  ledger: string | LedgerSource,
  options: {
    readonly json?: boolean;
    readonly hostKeys: string;
    readonly deviceKeys: string;
    readonly checkpoints?: readonly string[];
    /** The folder in which a device keeps what it witnessed. */
    readonly witness?: string;
    /** Ledgers of the same database, where each start of a host begins one. */
    readonly besideIds?: readonly string[];
    /** Records that no checkpoint covers count as a fault. */
    readonly strict?: boolean;
  },
): Promise<number> {
  const source = sourceOf(ledger);
  await expectLedger(ledger);
  const [hostKeys, deviceKeys, kept, witness] = await Promise.all([
    readVerifiers(options.hostKeys),
    readVerifiers(options.deviceKeys),
    Promise.all((options.checkpoints ?? []).map(readText)),
    options.witness === undefined ? undefined : readWitness(options.witness, source),
  ]);
  const receiptKeys = { hostKeys, deviceKeys };
  const knownCheckpoints = [...kept, ...(witness?.ofThis ?? []).map(({ note }) => note)];
  const report = await verifyLedger(source, { keys: hostKeys, knownCheckpoints, receiptKeys });
  const isRefused = options.strict === true && report.unsigned + report.tornBytes > 0;
  const replaced =
    witness === undefined
      ? []
      : replacedBy(report, witness, { hostKeys, besideIds: options.besideIds });
  const witnessed = witness === undefined ? [] : witnessLines(report, witness, replaced);
  const isReplaced = replaced.length > 0;
  const isChecked = report.verdict !== 'unchecked' && witness?.ofThis.length !== 0;
  if (options.json) printJson(terminal, { ...report, ...(witness && { witness, isReplaced }) });
  else
    printReport(terminal, report, {
      ...options,
      ...{ name: source.name, isRefused, isReplaced, isChecked, witnessed },
    });
  if (report.verdict === 'altered' || isRefused || isReplaced) return EXIT_STATUS.failed;
  return isChecked ? EXIT_STATUS.ok : EXIT_STATUS.unchecked;
}

/** A mistyped folder must not look like an empty ledger. A database has said that it has the ledger. */
async function expectLedger(ledger: string | LedgerSource): Promise<void> {
  if (typeof ledger !== 'string') return;
  const names = await readdir(ledger).catch(() => []);
  if (names.some((name) => name.startsWith('segment-'))) return;
  const remedy =
    'name the folder that ledger.dir of the host names, or its database with --postgres';
  throw new ZlError('file.unusable', `${ledger} holds no ledger; ${remedy}`);
}

interface ReportContext {
  readonly name: string;
  readonly hostKeys: string;
  readonly deviceKeys: string;
  readonly isRefused: boolean;
  readonly isReplaced: boolean;
  readonly isChecked: boolean;
  readonly witnessed: readonly string[];
}

/** What was found comes first, and one line that sums it up last. */
function printReport(terminal: Terminal, report: LedgerReport, context: ReportContext): void {
  const paint = paintFor(terminal);
  const { records, root, checkpointSize, unsigned } = report;
  const name = foreignLine(report.origin ?? '');
  if (report.ledgerId !== '') print(terminal, `Ledger ${report.ledgerId} of ${name}`);
  for (const [kind, count] of Object.entries(report.byKind)) {
    print(terminal, `  ${kind.padEnd(16)}${count}`);
  }
  for (const note of [...notesOf(report), ...leftOf(report, context), ...context.witnessed]) {
    print(terminal, `  ${foreignLine(note)}`);
  }
  const summary = `${counted(records, 'record')}, root ${root}, the checkpoint covers ${checkpointSize}`;
  const { firstBad } = report;
  if (firstBad !== undefined) {
    const { index, file, line, reason } = firstBad;
    const place = [index === undefined ? '' : `record ${index}`, file, line && `line ${line}`];
    const fault = foreignLine(`${place.filter(Boolean).join(', ')} ${reason}`);
    print(terminal, `${paint('red', 'Altered')}: ${fault}. Intact before it: ${summary}`);
  } else if (context.isRefused) {
    print(
      terminal,
      `${paint('red', 'Refused')}: ${counted(unsigned, 'record')} ${unsigned === 1 ? 'is' : 'are'} unsigned. ${summary}`,
    );
  } else if (context.isReplaced) {
    const why = 'the device witnessed another ledger of the same host';
    print(terminal, `${paint('red', 'Replaced')}: ${why}. ${summary}`);
  } else if (!context.isChecked) {
    print(terminal, `${paint('yellow', 'Not altered, and not checked in full')}: ${summary}`);
  } else {
    print(terminal, `${paint('green', 'Valid')}: ${summary}`);
  }
}

function notesOf(report: LedgerReport): string[] {
  const { records, unsigned, adopted, decisions, openIntents, tornBytes } = report;
  return [
    ...(decisions > 0
      ? [`${counted(decisions, 'decision')} made again with the bundles kept`]
      : []),
    ...(adopted > 0 ? [`${counted(adopted, 'record')} left unsigned by a crash`] : []),
    ...(unsigned > 0 ? [`unsigned yet: records ${records - unsigned} to ${records - 1}`] : []),
    ...(openIntents > 0 ? [`${counted(openIntents, 'call')} without a receipt yet`] : []),
    ...(tornBytes > 0 ? [`${tornBytes} bytes of an unfinished write`] : []),
  ];
}

/** What could not be checked, and what to give so that it can be. */
function leftOf(
  { unchecked }: LedgerReport,
  { name, hostKeys, deviceKeys }: ReportContext,
): string[] {
  const { checkpointKeys, missingKeys, newer, bundles } = unchecked;
  return [
    ...checkpointKeys.map(
      (hash) =>
        `not checked: the checkpoint's signature by key hash ${hash}; add its key to ${hostKeys}`,
    ),
    ...missingKeys.map(({ role, keyid, deviceId }) =>
      role === 'host'
        ? `not checked: receipts signed by host key ${keyid}; add it to ${hostKeys}`
        : `not checked: receipts signed by key ${keyid} of device ${deviceId}; add it to ${deviceKeys}`,
    ),
    ...newer.map((what) => `not checked: ${what}`),
    ...bundles.map(
      (digest) =>
        `not checked: decisions by policy ${digest}, which is not in the bundles of ${name}`,
    ),
  ];
}

function turnOf(record: LedgerRecord): string | undefined {
  if (record.kind === 'call.receipt') return peekReceipt(record.body.receipt)?.turnId;
  return 'turnId' in record.body ? record.body.turnId : undefined;
}

function describe(record: LedgerRecord, paint: Paint): string {
  const place = `${String(record.index).padStart(6)}  ${record.at}  ${record.kind.padEnd(15)}`;
  return `${paint('dim', foreignLine(place))} ${foreignLine(summary(record))}`.trimEnd();
}

function summary(record: LedgerRecord): string {
  switch (record.kind) {
    case 'call.intent':
      return `${record.body.callId}  ${record.body.tool}  ${record.body.user}@${record.body.tenant}`;
    case 'call.receipt': {
      const receipt = peekReceipt(record.body.receipt);
      if (receipt === undefined) return `${record.body.callId}  (unreadable)`;
      const { callId, tool, elapsedUs } = receipt;
      return `${callId}  ${tool}  ${endOf(receipt)} in ${(elapsedUs / 1000).toFixed(1)} ms`;
    }
    case 'turn': {
      const { turnId, parentCallId, user, tenant, steps, callIds } = record.body;
      const isCall = steps === 0 && callIds.length > 0;
      const work = isCall ? 'one call without a model' : counted(steps, 'step');
      const parent = parentCallId === undefined ? '' : `  started by call ${parentCallId}`;
      return `${turnId}  ${user}@${tenant}  ${endOf(record.body)} after ${work}${parent}`;
    }
    case 'policy.denied':
      return `${record.body.callId}  ${record.body.tool}  ${record.body.reason}`;
    case 'policy.withheld': {
      const { turnId, count, tools } = record.body;
      const named = tools.map(({ tool, ruleId }) => `${tool} (${ruleId ?? 'no rule'})`);
      return `${turnId}  ${counted(count, 'tool')}: ${named.join(', ')}`;
    }
    case 'policy.changed':
      return policyOf(record.body);
    case 'host.started':
    case 'host.stopped': {
      const { version, reason } = record.body;
      return `version ${version}${reason === undefined ? '' : `, ${reason}`}`;
    }
    case 'ledger.adopted':
      return `${counted(record.body.records, 'record')} that a crash had left without a checkpoint`;
    case 'ledger.ended':
      return record.body.by === undefined
        ? 'by its host'
        : `by the host of ledger ${record.body.by}`;
    case 'ledger.opened':
      return `ledger ${record.body.ledgerId}`;
    case 'ledger.segment':
      return `${record.body.openIntents.length} open intents`;
  }
}

const STATE_MEANS: ReadonlyMap<string, string> = new Map([
  ['stale', ': only rules for its grace allow'],
  ['expired', ': tools are denied'],
]);

function policyOf({ state, policyId, policyDigest }: RecordBodies['policy.changed']): string {
  if (state === 'none') return 'no bundle: tools are denied';
  return `${policyId ?? 'a bundle'} is ${state}${STATE_MEANS.get(state) ?? ''}  ${policyDigest ?? ''}`;
}

function endOf({ outcome, errorId }: { readonly outcome: string; readonly errorId?: string }) {
  return errorId === undefined ? outcome : `${outcome} ${errorId}`;
}
