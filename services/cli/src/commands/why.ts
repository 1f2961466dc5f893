import { ZlError } from '@zerolatency/errors';
import type { LedgerSource } from '@zerolatency/ledger';
import { foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import { readVerifiedReceipt } from '../audit/verify-receipt.ts';
import { hopsOf, milliseconds } from '../chat/transcript.ts';
import type { Layout } from '../installation/layout.ts';
import { readSettings } from '../settings.ts';
import { faultLine, faultsIn, type Probe } from '../status/probe.ts';
import { EXIT_STATUS, type Paint, paintFor, print, printJson, type Terminal } from '../terminal.ts';
import { readEvidence } from '../why/evidence.ts';
import {
  type CallStory,
  type ErrorStory,
  type Story,
  storyOf,
  type TurnStory,
} from '../why/story.ts';
import { formatted } from './logs.ts';
import { probeAll } from './status.ts';

/** Fewer digits name too many turns. */
const ID = /^[0-9a-f]{4,32}$/;

/** Why a turn or call ended as it did: from ledger, logs and status, whatever is down. */
export async function why(
  terminal: Terminal,
  layout: Layout,
  options: {
    readonly subject: string;
    readonly json?: boolean;
    /** Default: the folder of the installation. */
    readonly ledger?: string | LedgerSource;
  },
): Promise<number> {
  const { subject, json = false, ledger } = options;
  const id = subject === 'last' ? undefined : subject.toLowerCase();
  if (id !== undefined && !ID.test(id)) {
    const reads = 'the id of a turn or call, its first four digits or more, or "last"';
    throw new ZlError('request.invalid', `${subject} is not ${reads}`);
  }
  const [evidence, probes] = await Promise.all([
    readEvidence(layout, id, ledger),
    probesOf(layout),
  ]);
  const story = storyOf(evidence, id);
  const now = [
    ...(evidence.ledgerFault ? [`ledger: ${evidence.ledgerFault}`] : []),
    ...faults(probes),
  ];
  const calls = await Promise.all(
    (story?.calls ?? []).map(async ({ receipt, ...call }) => {
      return { ...call, receipt: await receiptState({ receipt, ...call }, layout) };
    }),
  );
  if (json) printJson(terminal, { ...story, calls, now });
  else if (story !== undefined) printStory(terminal, { ...story, calls });
  else {
    const what = id === undefined ? 'no turn' : `neither a turn nor a call ${id}`;
    print(terminal, `${what} is in the ledger or in the last lines of the logs`);
  }
  if (!json) printNow(terminal, now);
  return story === undefined ? EXIT_STATUS.failed : EXIT_STATUS.ok;
}

/** What is down is part of the answer. */
async function probesOf({ settings }: Layout): Promise<readonly Probe[]> {
  return probeAll(await readSettings(settings));
}

function faults(probes: readonly Probe[]): string[] {
  return probes.flatMap(({ name, health, error, report }) => {
    if (health === 'ok') return [];
    const parts = faultsIn(report).map(faultLine);
    const reasons = [...(error === undefined ? [] : [error]), ...parts].join('; ');
    return [`${name} is ${health}${reasons === '' ? '' : `: ${reasons}`}`];
  });
}

async function receiptState(
  { receipt, isOpen }: Pick<CallStory, 'receipt' | 'isOpen'>,
  { receiptKeys }: Layout,
): Promise<string> {
  if (receipt === undefined) {
    return isOpen
      ? 'none yet: the call runs, or its host stopped and closes it at its next start'
      : 'none: the ledger took no record of the call';
  }
  try {
    const { device } = await readVerifiedReceipt(JSON.stringify(receipt), receiptKeys);
    return `signed by ${device === undefined ? 'the host' : 'host and device'}, verified`;
  } catch (reason) {
    if (!(reason instanceof ZlError)) throw reason;
    return `does not verify: ${reason.message}`;
  }
}

type ShownCall = Omit<CallStory, 'receipt'> & { readonly receipt: string };
type ShownStory = Omit<Story, 'calls'> & { readonly calls: readonly ShownCall[] };

function printStory(terminal: Terminal, { turn, refusal, calls, lines }: ShownStory): void {
  const paint = paintFor(terminal);
  if (refusal !== undefined) {
    print(terminal, paint('bold', 'request refused by the host before a turn began'));
    printError(terminal, refusal);
  }
  if (turn !== undefined) printTurn(terminal, turn, paint);
  for (const call of calls) printCall(terminal, call, paint);
  if (lines.length > 0) print(terminal, paint('bold', 'log'));
  for (const line of lines) print(terminal, `  ${formatted(line, paint)}`);
}

function printTurn(terminal: Terminal, turn: TurnStory, paint: Paint): void {
  const { turnId, outcome = 'has no end', error, steps, seconds, at, who, parentCallId } = turn;
  print(terminal, paint('bold', foreignLine(`turn ${turnId} ${outcome}`)));
  const work = steps === undefined ? '' : ` after ${counted(steps, 'step')}`;
  const time = seconds === undefined ? '' : ` in ${milliseconds(seconds * 1e6)}`;
  field(terminal, 'when', `${at}${work}${time}`);
  if (who !== '') field(terminal, 'who', who);
  if (parentCallId !== undefined) field(terminal, 'started', `by call ${parentCallId}`);
  if (error !== undefined) printError(terminal, error);
  if (turn.withheld !== undefined) {
    const { count, tools } = turn.withheld;
    const named = tools.map(({ tool, ruleId }) => `${tool} (${ruleId ?? 'no rule allows it'})`);
    field(terminal, 'withheld', `${count} by policy: ${named.join(', ')}`);
  }
  field(terminal, 'record', turn.isRecorded ? 'in the ledger' : 'none in the ledger');
}

function printCall(terminal: Terminal, call: ShownCall, paint: Paint): void {
  const { callId, tool, outcome = 'has no outcome', times, error } = call;
  print(terminal, paint('bold', foreignLine(`call ${callId} ${tool} ${outcome}`)));
  field(terminal, 'decision', call.decision);
  field(terminal, 'ran on', call.where);
  if (error !== undefined) printError(terminal, error);
  // A hop that the call did not reach took no time.
  const hops = times === undefined ? [] : hopsOf(times).filter(([, us]) => us > 0);
  for (const [hop, us] of hops) field(terminal, 'time', `${hop.padEnd(40)}${milliseconds(us)}`);
  field(terminal, 'receipt', call.receipt);
}

function printError(terminal: Terminal, { id, message, help }: ErrorStory): void {
  field(terminal, 'error', message === '' ? id : `${id}: ${message}`);
  if (help !== '') field(terminal, '', help);
}

function printNow(terminal: Terminal, now: readonly string[]): void {
  if (now.length === 0) return;
  print(terminal, paintFor(terminal)('bold', 'now'));
  for (const fault of now) print(terminal, `  ${foreignLine(fault)}`);
  print(terminal, '  "zl doctor" names what to do.');
}

function field(terminal: Terminal, name: string, value: string): void {
  print(terminal, `  ${name.padEnd(10)}${foreignLine(value, 2_000)}`);
}
