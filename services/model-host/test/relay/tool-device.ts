import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  Callee,
  type CalleeCall,
  type CalleeOutcome,
  type CalleeSink,
  type Journal,
  MemoryJournal,
} from '@zerolatency/call';
import { fromUnknown } from '@zerolatency/errors';
import { FEATURES, type Frame } from '@zerolatency/frame';
import {
  type Catalog,
  CatalogSchema,
  ServerSchema,
  ServerState,
  ToolSchema,
} from '@zerolatency/proto/bridge';
import { argumentsDigest, type Receipt, signReceipt } from '@zerolatency/receipts';
import { steadyClock } from '@zerolatency/service/steady-clock';
import { canonicalJson, type Digest, type Signer, signerFromPem } from '@zerolatency/signing';
import type { TestDevice } from '@zerolatency/testing';
import type { RelayedDevice } from './link-relay.ts';

/** Returns the MCP result; an error that it throws fails the call. */
export type ToolHandler = (args: Record<string, unknown>, signal: AbortSignal) => Promise<unknown>;

export interface OfferedTool {
  readonly name: string;
  readonly inputSchema: unknown;
  readonly handler: ToolHandler;
}

/** A device with the real call state machine and real receipts, whose tools are functions. */
export class ToolDevice implements RelayedDevice, CalleeSink {
  readonly tenant: string;
  readonly deviceId: string;
  readonly credential: string;
  catalog: Catalog;
  /** The number of executions of each call. */
  readonly executions = new Map<string, number>();
  readonly features = FEATURES;
  /** How far its clock is ahead of this process's. */
  aheadMs = 0;
  readonly #steadyMs = steadyClock();
  readonly traceparents: string[] = [];
  /** Changes a receipt before `signer` signs it. */
  forge: (receipt: Receipt) => Receipt = (receipt) => receipt;
  signer: Signer;
  readonly #tools: ReadonlyMap<string, OfferedTool>;
  readonly #journal: Journal;
  #callee: Callee;
  #send: ((frame: Frame) => void) | undefined;
  readonly #running = new Map<string, AbortController>();

  constructor(enrolled: TestDevice, tools: readonly OfferedTool[], journal?: Journal) {
    this.tenant = enrolled.tenant;
    this.deviceId = enrolled.deviceId;
    this.credential = enrolled.credential;
    this.signer = signerFromPem(enrolled.key.privatePem);
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]));
    this.catalog = catalogOf(tools);
    this.#journal = journal ?? new MemoryJournal(randomBytes(16));
    this.#callee = new Callee(this.#journal, this);
  }

  get journalId(): Uint8Array {
    return this.#journal.id;
  }

  get running(): number {
    return this.#running.size;
  }

  attach(epoch: number, send: (frame: Frame) => void): void {
    this.#send = send;
    this.#callee.attached(epoch);
  }

  detach(): void {
    this.#send = undefined;
    this.#callee.detached();
  }

  receive(frame: Frame): void {
    this.#callee.frame(frame, this.#nowMs());
  }

  readonly #nowMs = () => this.#steadyMs() + this.aheadMs;

  /** Advances the device's clock, for example past a deadline. */
  passTime(nowMs: number): void {
    this.#callee.tick(nowMs);
  }

  send(frame: Frame): void {
    this.#send?.(frame);
  }

  dispatch(call: CalleeCall): void {
    const { name, arguments: args } = JSON.parse(Buffer.from(call.params).toString());
    const tool = this.#tools.get(`${call.server}.${name}`);
    if (tool === undefined || !this.#callee.begin(call.callId, { durable: false }, this.#nowMs))
      return;
    this.traceparents.push(call.traceparent);
    this.executions.set(call.callId, (this.executions.get(call.callId) ?? 0) + 1);
    const abort = new AbortController();
    this.#running.set(call.callId, abort);
    tool
      .handler(args, abort.signal)
      .then(
        (result) =>
          this.#callee.finished(call.callId, { status: 'done', result: canonicalJson(result) }),
        (reason) => {
          const status = abort.signal.aborted ? 'cancelled' : 'failed';
          this.#callee.finished(call.callId, { status, error: fromUnknown(reason) });
        },
      )
      .finally(() => this.#running.delete(call.callId));
  }

  abort(callId: string): void {
    this.#running.get(callId)?.abort();
  }

  async seal(call: CalleeCall, ending: CalleeOutcome): Promise<void> {
    const { name, arguments: args } = JSON.parse(Buffer.from(call.params).toString());
    const { tenant, user } = call.principal;
    const receipt: Receipt = {
      role: 'device',
      executor: 'device',
      callId: call.callId,
      tool: `${call.server}.${name}`,
      argumentsDigest: argumentsDigest(call.argumentSalt, canonicalJson(args)),
      resultDigest: ending.status === 'done' ? digestText(ending.resultDigest) : undefined,
      outcome: ending.status,
      errorId: ending.errorId === '' ? undefined : ending.errorId,
      caps: { maxBytes: call.maxBytes },
      elapsedUs: 1,
      startedAt: new Date().toISOString(),
      policyId: 'device-policy@1',
      policyDigest: digestText(call.bundleDigest),
      deviceId: this.deviceId,
      tenant,
      user,
    };
    const envelope = await signReceipt(this.forge(receipt), this.signer);
    const text = Buffer.from(JSON.stringify(envelope));
    this.#callee.sealed(call.callId, { receipt: text, deviceUs: 1, serverUs: 1 });
  }
}

function digestText(bytes: Uint8Array): Digest {
  return `sha256:${Buffer.from(bytes).toString('hex')}`;
}

function catalogOf(tools: readonly OfferedTool[]): Catalog {
  const names = [...new Set(tools.map(({ name }) => name.split('.')[0] ?? ''))];
  const servers = names.map((server) =>
    create(ServerSchema, {
      name: server,
      version: '1.0.0',
      state: ServerState.READY,
      tools: tools
        .filter(({ name }) => name.startsWith(`${server}.`))
        .map(({ name, inputSchema }) =>
          create(ToolSchema, {
            name: name.slice(server.length + 1),
            description: `Runs ${name}.`,
            inputSchemaJson: JSON.stringify(inputSchema),
          }),
        ),
    }),
  );
  return create(CatalogSchema, { servers });
}
