import { CallOutcome, type ToolCallDone } from '@zerolatency/proto/agent';
import { durationMicros } from '@zerolatency/service/rpc';
import { readVerifiedReceipt } from '../audit/verify-receipt.ts';
import { ChatStream } from '../chat/session.ts';
import { hopsOf, milliseconds, terminalTranscript } from '../chat/transcript.ts';
import type { Layout } from '../installation/layout.ts';
import type { Settings } from '../settings.ts';
import { EXIT_STATUS, paintFor, print, type Terminal } from '../terminal.ts';
import { chatTarget, runTurn } from './chat.ts';

const QUESTION = 'Read the welcome file, please.';

/** Proves the whole path: a turn reads a file on the device, and its receipt verifies. */
export async function firstChat(
  terminal: Terminal,
  layout: Layout,
  settings: Settings,
): Promise<number> {
  const session = new ChatStream(await chatTarget(settings, {}));
  const shown = terminalTranscript(terminal);
  const calls: ToolCallDone[] = [];
  print(terminal, `\n› ${QUESTION}`);
  try {
    const status = await runTurn(terminal, session, {
      text: QUESTION,
      transcript: {
        ...shown,
        show(event) {
          if (event.event.case === 'toolCallDone') calls.push(event.event.value);
          shown.show(event);
        },
      },
    });
    if (status !== EXIT_STATUS.ok) return status;
  } finally {
    session.close();
  }
  return await printProof(terminal, layout, calls);
}

async function printProof(
  terminal: Terminal,
  layout: Layout,
  calls: readonly ToolCallDone[],
): Promise<number> {
  const paint = paintFor(terminal);
  const call = calls.find(({ outcome }) => outcome === CallOutcome.DONE);
  if (call === undefined) {
    terminal.stderr.write('zl: the turn ended without a successful tool call\n');
    return EXIT_STATUS.failed;
  }
  const { receipt, device } = await readVerifiedReceipt(call.receiptJson, layout.receiptKeys);
  const { callId, outcome, policyId } = receipt;
  const signers = device === undefined ? 'the host' : 'host and device';
  print(terminal, `\n${paint('green', 'Receipt verified')}: call ${callId}, ${outcome}`);
  print(terminal, `  signed by ${signers} under policy ${policyId}; checked with public keys only`);
  for (const [hop, us] of hopsOf(timesOf(call)))
    print(terminal, `  ${hop.padEnd(40)}${milliseconds(us)}`);
  return EXIT_STATUS.ok;
}

function timesOf({ timing }: ToolCallDone): Parameters<typeof hopsOf>[0] {
  return {
    totalUs: durationMicros(timing?.total),
    remoteUs: durationMicros(timing?.remote),
    deviceUs: durationMicros(timing?.device),
    serverUs: durationMicros(timing?.server),
  };
}
