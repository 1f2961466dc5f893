import { context, type Span, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type {
  AbortReason,
  CalleeCall,
  CalleeLimits,
  CalleeOutcome,
  CallProgress,
  Finish,
  Seal,
} from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import type { McpConnection, Progress } from '@zerolatency/mcp';
import type { HeldDecision, Opened, OpenedFile, PolicyRequest } from '@zerolatency/policy';
import { extract } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { ManagedServer } from '../servers/managed-server.ts';
import { type Device, microseconds, Run, type ServerFacts, sealOutcome } from './run.ts';
import {
  endOfFailure,
  finishOf,
  openedFiles,
  type ReadableRequest,
  type ToolParams,
  withheld,
} from './tool-request.ts';

export interface PolicyPort {
  decide(request: PolicyRequest): HeldDecision;
  /** For a decision on what a tool opened; undefined when no rule restricts its paths. */
  opened(tool: string, files: readonly OpenedFile[]): Promise<Opened | undefined>;
}

/** The part of the callee that the runner drives. */
export interface CalleePort {
  /** Returns how long the tool may take; at 0 it must not run. */
  begin(callId: string, options: { readonly durable: boolean }): number;
  progress(callId: string, report: CallProgress): void;
  finished(callId: string, finish: Finish): void;
}

export interface RunnerDeps {
  readonly device: Device;
  readonly signer: Signer;
  readonly policy: PolicyPort;
  readonly servers: {
    find(name: string): ManagedServer | undefined;
    onceSettled(name: string, then: () => void): void;
  };
  readonly tracer: Tracer;
  readonly nowMs: () => number;
  readonly limits: Pick<CalleeLimits, 'maxResultBytes'>;
  readonly onEnded: (ended: EndedCall) => void;
}

export interface EndedCall {
  readonly callId: string;
  /** Empty when the device does not offer the tool. */
  readonly tool: string;
  readonly ending: CalleeOutcome;
  readonly seconds: number;
}

/** The field of _meta that tells the server how long a result may be, so that it can cut it. */
const MAX_BYTES_META = 'zerolatency/maxBytes';

/** Progress is one line for a person to read. */
const MAX_PROGRESS_CHARS = 256;

interface Target {
  readonly server: ManagedServer;
  /** The process by which the policy decided. */
  readonly connection: McpConnection;
  readonly params: ToolParams;
  readonly hasEffects: boolean;
}

/**
 * Decides calls and runs them on their servers. It does not yield between the frame
 * and the server's stdin: each turn of the event loop would add latency.
 */
export class Runner {
  readonly #deps: RunnerDeps;
  readonly #callee: CalleePort;
  readonly #runs = new Map<string, Run>();

  constructor(deps: RunnerDeps, callee: CalleePort) {
    this.#deps = deps;
    this.#callee = callee;
  }

  dispatch(call: CalleeCall): void {
    const run = new Run(call, this.#startSpan(call), this.#deps.limits.maxResultBytes);
    this.#runs.set(call.callId, run);
    this.#decide(run);
  }

  abort(callId: string, reason: AbortReason): void {
    const id = reason === 'cancelled' ? 'call.cancelled' : 'tool.timeout';
    this.#runs.get(callId)?.abort.abort(new ZlError(id, `stopped: ${reason}`));
  }

  /** `end` reports the call. It may wait until the outcome is on its way. */
  async seal(
    call: CalleeCall,
    ending: CalleeOutcome,
  ): Promise<{ readonly seal: Seal; readonly end: () => void }> {
    const run = this.#runs.get(call.callId);
    const seal = await sealOutcome({ call, ending, run }, this.#deps);
    const end = () => {
      endSpan(run?.span, ending);
      const tool = run?.isOffered ? run.request.tool : '';
      const ended = { callId: call.callId, tool, ending, seconds: seal.deviceUs / 1e6 };
      context.with(run?.context ?? extract(call.traceparent), () => this.#deps.onEnded(ended));
    };
    return { seal, end };
  }

  /** What the policy may name of a server is known once it has started. */
  #decide(run: Run): void {
    this.#deps.servers.onceSettled(run.call.server, () => {
      const target = this.#admit(run);
      if ('status' in target) this.#finish(run, target);
      else target.server.semaphore.acquire(() => this.#begin(run, target));
    });
  }

  #startSpan({ callId, server, principal, traceparent }: CalleeCall): Span {
    const attributes = { call_id: callId, server, tenant: principal.tenant };
    return this.#deps.tracer.startSpan('bridge.call', { attributes }, extract(traceparent));
  }

  /** Returns where the call goes, or how it ends without running. */
  #admit(run: Run): Target | Finish {
    const { call, request } = run;
    if (request.error !== undefined) return failed(request.error);
    const { name } = request.params;
    const server = this.#deps.servers.find(call.server);
    const ready = server?.state.name === 'ready' ? server.state : undefined;
    run.isOffered = ready?.tools.has(name) ?? false;
    run.facts = factsOf(server, name);
    const decision = this.#authorize(call, request, run.facts);
    run.decision = decision;
    if (decision.effect !== 'allow') {
      return { status: 'denied', error: new ZlError(decision.errorId, decision.reason) };
    }
    if (server === undefined) return failed(noServer(call.server));
    if (ready === undefined) {
      return failed(new ZlError('tool.server_down', `the server is ${server.state.name}`));
    }
    if (!run.isOffered) {
      return failed(new ZlError('tool.unknown', `the server offers no tool ${name}`));
    }
    const { connection } = ready;
    return { server, connection, params: request.params, hasEffects: server.hasEffects(name) };
  }

  /** The device's own decision, whatever the caller's was. */
  #authorize(
    { principal }: CalleeCall,
    request: ReadableRequest,
    facts: ServerFacts & Pick<PolicyRequest, 'opened'>,
  ): HeldDecision {
    const { policy, device, nowMs } = this.#deps;
    const { tenant, user, roles } = principal;
    const decision = policy.decide({
      ...facts,
      ...{ tenant, user, roles, tool: request.tool },
      arguments: request.params.arguments,
      deviceId: device.id,
      nowMs: nowMs(),
      callsThisTurn: 0,
    });
    if (tenant === device.tenant || decision.effect !== 'allow') return decision;
    const { policyId, policyDigest } = decision;
    const reason = `the device belongs to tenant ${device.tenant}`;
    return {
      effect: 'deny',
      ruleId: null,
      reason,
      errorId: 'policy.denied',
      policyId,
      policyDigest,
    };
  }

  /** Called once the server has room for the call. */
  #begin(run: Run, target: Target): void {
    const { state, semaphore } = target.server;
    if (state.name !== 'ready' || state.connection !== target.connection) {
      semaphore.release();
      this.#decide(run);
      return;
    }
    const leftMs = this.#callee.begin(run.call.callId, { durable: target.hasEffects });
    if (leftMs > 0) {
      void this.#run(run, { ...target, leftMs }).then((finish) => {
        semaphore.release();
        this.#finish(run, finish);
      });
    } else {
      semaphore.release();
      this.#runs.delete(run.call.callId);
    }
  }

  async #run(run: Run, target: Target & { readonly leftMs: number }) {
    const { server, connection, params, hasEffects, leftMs } = target;
    const { resultLimit, traceparent } = run;
    const startMs = performance.now();
    try {
      const result = await connection.request(
        'tools/call',
        { ...params },
        {
          signal: run.abort.signal,
          timeoutMs: run.timeoutMs(leftMs, server.callTimeoutMs),
          traceparent,
          meta: { [MAX_BYTES_META]: resultLimit.maxBytes },
          ...(run.call.wantsProgress ? { onProgress: this.#reporter(run) } : {}),
        },
      );
      run.serverUs = microseconds(startMs);
      const files = openedFiles(result);
      const denied = files.length > 0 && (await this.#denyOpened(run, files));
      return denied ? withheld(denied, hasEffects) : finishOf(result, run.call.server, resultLimit);
    } catch (reason) {
      run.serverUs = microseconds(startMs);
      if (reason instanceof ZlError && reason.id === 'tool.timeout') void server.suspectHang();
      return endOfFailure(reason, hasEffects);
    }
  }

  /** Decides again, on the files that the server opened; undefined when the result may be released. */
  async #denyOpened(run: Run, files: readonly OpenedFile[]) {
    const { call, request, facts } = run;
    const opened = await this.#deps.policy.opened(request.tool, files);
    if (opened === undefined || request.error !== undefined) return undefined;
    const decision = this.#authorize(call, request, { ...facts, opened });
    if (decision.effect === 'allow') return undefined;
    run.decision = decision;
    return decision;
  }

  #reporter({ call }: Run): (step: Progress) => void {
    return ({ progress, total, message }) => {
      const text = message?.slice(0, MAX_PROGRESS_CHARS).toWellFormed();
      this.#callee.progress(call.callId, {
        progress,
        ...(total === undefined ? {} : { total }),
        ...(text === undefined ? {} : { message: text }),
      });
    };
  }

  #finish(run: Run, finish: Finish): void {
    try {
      this.#callee.finished(run.call.callId, finish);
    } finally {
      this.#runs.delete(run.call.callId);
    }
  }
}

function factsOf(server: ManagedServer | undefined, tool: string): ServerFacts {
  const ready = server?.state.name === 'ready' ? server.state : undefined;
  return {
    version: ready?.connection.serverVersion ?? '',
    pathBases: new Map(Object.entries(server?.pathBases(tool) ?? {})),
    hasEffects: server?.hasEffects(tool),
    // Without a process nothing runs outside a sandbox.
    inSandbox: ready === undefined || ready.containment === 'sandbox',
  };
}

function noServer(name: string): ZlError {
  return new ZlError('tool.unknown', `no server ${name} on this device`);
}

function failed(error: ZlError): Finish {
  return { status: 'failed', error };
}

function endSpan(span: Span | undefined, { status, errorId }: CalleeOutcome): void {
  if (span === undefined) return;
  span.setAttribute('outcome', status);
  if (errorId !== '') {
    span.setAttribute('error_id', errorId);
    span.setStatus({ code: SpanStatusCode.ERROR, message: errorId });
  }
  span.end();
}
