import { SpanStatusCode, type Tracer } from '@opentelemetry/api';
import { inSpan } from '@zerolatency/service/telemetry';
import type { PreparedCall, TurnScope } from '../ports.ts';

/** Gives a call its span; what the device is told to continue is then the span of this call. */
export function tracedCall(call: PreparedCall, scope: TurnScope, tracer: Tracer): PreparedCall {
  const { callId, tool, argumentsJson, argumentsDigest } = call;
  const attributes = {
    call_id: callId,
    tool,
    tenant: scope.identity.tenant,
    session_id: scope.sessionId,
    turn_id: scope.turnId,
    device_id: scope.deviceId,
  };
  const run: PreparedCall['run'] = (options) =>
    inSpan(tracer, 'tool.call', { kind: 'client', attributes }, async (span) => {
      const result = await call.run(options);
      span.setAttribute('outcome', result.outcome);
      if (result.error !== undefined) span.setAttribute('error.type', result.error.id);
      if (result.outcome !== 'done') span.setStatus({ code: SpanStatusCode.ERROR });
      return result;
    });
  return { callId, tool, argumentsJson, argumentsDigest, run };
}
