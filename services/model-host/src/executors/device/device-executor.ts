import { Caller, type CallerRequest } from '@zerolatency/call';
import type { ToolContracts } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import type {
  CallIntentTarget,
  ExecutableCall,
  Execution,
  ExecutionContext,
  Executor,
} from '../../calls/ports.ts';
import type { TurnScope } from '../../ports.ts';
import { DeviceCatalogs, type WithheldTool } from './catalog.ts';
import {
  type DeviceConnection,
  type DeviceRoute,
  type DeviceRoutes,
  RemoteCall,
} from './remote-call.ts';

export interface DeviceExecutorOptions {
  readonly devices: DeviceRoutes;
  readonly contracts: ToolContracts;
  /** A call went on after its route was lost. */
  readonly onResumed: () => void;
  /** A catalog has tools that no model is offered; `tools` are the first of them. */
  readonly onWithheld?: (
    device: DeviceIdentity,
    tools: readonly WithheldTool[],
    count: number,
  ) => void;
}

export function deviceExecutor(options: DeviceExecutorOptions): Executor {
  const { devices, contracts, onResumed, onWithheld } = options;
  const catalogs = new DeviceCatalogs(contracts);
  return {
    async open(scope, signal) {
      if (scope.deviceId === '') return NO_TOOLS;
      // Asked for anew at each use, because a route that was idle for long is closed.
      const { deviceId, identity } = scope;
      const route = () => devices.route(identity.tenant, deviceId);
      const { servers } = route().connection ?? (await route().ready(signal));
      return {
        tools: () =>
          catalogs.read(route().connection?.servers ?? servers, {
            device: JSON.stringify([identity.tenant, deviceId]),
            onWithheld: (tools, count) =>
              onWithheld?.({ tenant: identity.tenant, deviceId }, tools, count),
          }),
        execute: (call, context) => execute(call, { ...context, route: route(), onResumed }),
      };
    },
    recover({ facts, target }, waitMs) {
      if (target === undefined || facts.deviceId === undefined) return undefined;
      const route = devices.route(facts.tenant, facts.deviceId);
      return recover({ callId: facts.callId, target, route }, waitMs);
    },
  };
}

const NO_TOOLS = {
  tools: () => new Map(),
  execute: () => Promise.reject(new ZlError('internal', 'a turn without a device called a tool')),
};

interface DeviceContext extends ExecutionContext {
  readonly route: DeviceRoute;
  readonly onResumed: () => void;
}

/** With the route up and nothing to wait for in the ledger, the frame is with the kernel on return. */
async function execute(call: ExecutableCall, context: DeviceContext): Promise<Execution> {
  const { route, signal, nowMs, onProgress, onResumed, intend } = context;
  const request = requestOf(call, context.scope);
  const remote = new RemoteCall({
    route,
    nowMs,
    callId: call.callId,
    caller: (sink) => new Caller(request, sink),
    onProgress,
    onResumed,
  });
  let intended: DeviceConnection | undefined;
  // A device that comes back with another journal before the call is sent needs another intent.
  while (intended === undefined || route.connection !== intended) {
    signal.throwIfAborted();
    const connection = route.connection ?? (await route.ready(signal));
    if (intended === undefined || !isSameJournal(intended, connection)) {
      const { journalId, digest, deadlineMs } = remote.intent(connection.journalId);
      const recorded = intend({ journalId, requestDigest: digest, deadlineMs });
      if (recorded !== undefined) await recorded;
    }
    intended = connection;
  }
  signal.throwIfAborted();
  return remote.start(signal);
}

function requestOf(call: ExecutableCall, { identity }: TurnScope): CallerRequest {
  const { tenant, user, roles } = identity;
  const { tool, args, policyDigest = '' } = call;
  return {
    callId: call.callId,
    server: tool.server,
    method: 'tools/call',
    // Canonical, because the name needs no escape and the keys are in order.
    params: Buffer.from(`{"arguments":${args.text},"name":"${tool.toolName}"}`),
    argumentSalt: call.argumentSalt,
    deadlineMs: call.deadlineMs,
    settleByMs: call.settleByMs,
    hasEffects: tool.hasEffects,
    maxBytes: call.maxBytes,
    bundleDigest: Buffer.from(policyDigest.slice('sha256:'.length), 'hex'),
    principal: { tenant, user, roles },
    traceparent: call.traceparent,
  };
}

function isSameJournal(a: DeviceConnection, b: DeviceConnection): boolean {
  return Buffer.compare(a.journalId, b.journalId) === 0;
}

interface RecoverableCall {
  readonly callId: string;
  readonly target: CallIntentTarget;
  readonly route: DeviceRoute;
}

function recover(call: RecoverableCall, waitMs: number): Promise<Execution> {
  const { callId, route } = call;
  const { requestDigest: digest, ...target } = call.target;
  const intent = { callId, digest, ...target, settleByMs: Date.now() + waitMs };
  const remote = new RemoteCall({
    route,
    nowMs: Date.now,
    callId,
    caller: (sink) => Caller.recover(intent, sink, { cancelGraceMs: waitMs }),
  });
  // Asked and cancelled at once.
  return remote.start(AbortSignal.abort());
}
