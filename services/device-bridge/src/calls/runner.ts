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
import type { HeldDecision, PolicyRequest } from '@zerolatency/policy';
import { extract } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { ManagedServer } from '../servers/managed-server.ts';
import { type Device, sealOutcome } from './device-receipt.ts';
import { microseconds, Run, type ToolParams } from './run.ts';
import { endOfFailure, finishOf } from './tool-result.ts';

export interface PolicyPort {
  decide(request: PolicyRequest): HeldDecision;
}

/** The part of the callee that the runner drives. */
export interface CalleePort {
  begin(callId: string, options: { readonly durable: boolean }): boolean;
  progress(callId: string, report: CallProgress): void;
  finished(callId: string, finish: Finish): void;
}

export interface RunnerDeps {
  readonly device: Device;
  readonly signer: Signer;
  readonly policy: PolicyPort;
  readonly servers: { find(name: string): ManagedServer | undefined };
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
  isDraining = false;

  constructor(deps: RunnerDeps, callee: CalleePort) {
    this.#deps = deps;
    this.#callee = callee;
  }

  dispatch(call: CalleeCall): void {
    const run = new Run(call, {
      span: this.#startSpan(call),
      maxResultBytes: this.#deps.limits.maxResultBytes,
    });
    this.#runs.set(call.callId, run);
    const target = this.#admit(run);
    if ('status' in target) this.#finish(run, target);
    else target.server.semaphore.acquire(() => this.#begin(run, target));
  }

  abort(callId: string, reason: AbortReason): void {
    const id = reason === 'cancelled' ? 'call.cancelled' : 'tool.timeout';
    this.#runs.get(callId)?.abort.abort(new ZlError(id, `stopped: ${reason}`));
  }

  async seal(call: CalleeCall, ending: CalleeOutcome): Promise<Seal> {
    const run = this.#runs.get(call.callId);
    const seal = await sealOutcome({ call, ending, run }, this.#deps.device, this.#deps.signer);
    endSpan(run?.span, ending);
    const tool = run?.isOffered ? run.request.tool : '';
    const ended = { callId: call.callId, tool, ending, seconds: seal.deviceUs / 1e6 };
    context.with(run?.context ?? extract(call.traceparent), () => this.#deps.onEnded(ended));
    return seal;
  }

  #startSpan({ callId, server, principal, traceparent }: CalleeCall): Span {
    const attributes = { call_id: callId, server, tenant: principal.tenant };
    return this.#deps.tracer.startSpan('bridge.call', { attributes }, extract(traceparent));
  }

  /** Returns where the call goes, or how it ends without running. */
  #admit(run: Run): Target | Finish {
    const { call, request } = run;
    if (request.error !== undefined) return failed(request.error);
    if (this.isDraining) return failed(new ZlError('server.draining', 'the bridge is stopping'));
    const { name, arguments: args } = request.params;
    const server = this.#deps.servers.find(call.server);
    const ready = server?.state.name === 'ready' ? server.state : undefined;
    run.isOffered = ready?.tools.has(name) ?? false;
    const version = ready?.connection.serverVersion ?? '';
    const asked = { tool: request.tool, version, arguments: args, nowMs: this.#deps.nowMs() };
    const decision = authorize(call, asked, this.#deps);
    run.decision = decision;
    if (decision.effect !== 'allow') {
      return { status: 'denied', error: new ZlError(decision.errorId, decision.reason) };
    }
    if (server === undefined) return failed(noServer(call.server));
    if (ready !== undefined && !run.isOffered) {
      return failed(new ZlError('tool.unknown', `the server offers no tool ${name}`));
    }
    return { server, params: request.params, hasEffects: server.hasEffects(name) };
  }

  /** Called once the server has room for the call. */
  #begin(run: Run, target: Target): void {
    const { state, semaphore } = target.server;
    if (state.name !== 'ready') {
      semaphore.release();
      this.#finish(run, failed(this.#absence(target.server)));
    } else if (this.#callee.begin(run.call.callId, { durable: target.hasEffects })) {
      void this.#run(run, state.connection, target).then((finish) => {
        semaphore.release();
        this.#finish(run, finish);
      });
    } else {
      semaphore.release();
      this.#runs.delete(run.call.callId);
    }
  }

  async #run(run: Run, connection: McpConnection, { server, params, hasEffects }: Target) {
    const { maxBytes, traceparent } = run;
    const startMs = performance.now();
    try {
      const result = await connection.request(
        'tools/call',
        { ...params },
        {
          signal: run.abort.signal,
          timeoutMs: run.timeoutMs(this.#deps.nowMs(), server.callTimeoutMs),
          traceparent,
          meta: { [MAX_BYTES_META]: maxBytes },
          ...(run.call.wantsProgress ? { onProgress: this.#reporter(run) } : {}),
        },
      );
      run.serverUs = microseconds(startMs);
      return finishOf(result, run.call.server, maxBytes);
    } catch (reason) {
      run.serverUs = microseconds(startMs);
      if (reason instanceof ZlError && reason.id === 'tool.timeout') void server.suspectHang();
      return endOfFailure(reason, hasEffects);
    }
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

  /** The server was there when the call arrived, and may have been removed while it waited. */
  #absence({ spec, state }: ManagedServer): ZlError {
    const isNamed = this.#deps.servers.find(spec.name) !== undefined;
    return isNamed
      ? new ZlError('tool.server_down', `the server is ${state.name}`)
      : noServer(spec.name);
  }
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

interface Asked {
  readonly tool: string;
  readonly version: string;
  readonly arguments: unknown;
  readonly nowMs: number;
}

/** The device's own decision, whatever the caller's was. */
function authorize(
  { principal }: CalleeCall,
  asked: Asked,
  { policy, device }: { readonly policy: PolicyPort; readonly device: Device },
): HeldDecision {
  const { tenant, user, roles } = principal;
  const request = { ...asked, tenant, user, roles, deviceId: device.id, callsThisTurn: 0 };
  const decision = policy.decide(request);
  if (tenant === device.tenant || decision.effect !== 'allow') return decision;
  const { policyId, policyDigest } = decision;
  const reason = `the device belongs to tenant ${device.tenant}`;
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.denied', policyId, policyDigest };
}
