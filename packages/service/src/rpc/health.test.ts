import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HandlerContext } from '@connectrpc/connect';
import { HealthCheckResponse_ServingStatus as Status } from '@zerolatency/proto/health';
import { healthService } from './health.ts';

test('[HOST-13] a health watch sends a change that occurs while it sends the one before', async () => {
  const listeners = new Set<() => void>();
  const serving = {
    accepting: true,
    onChange: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const stop = new AbortController();
  const { watch } = healthService(serving, { service: 'some.Service' });
  const context = { signal: stop.signal } as HandlerContext;
  const request = { $typeName: 'grpc.health.v1.HealthCheckRequest', service: '' } as const;
  const told = watch!(request, context)[Symbol.asyncIterator]();
  assert.equal((await told.next()).value?.status, Status.SERVING);
  serving.accepting = false;
  for (const listener of listeners) listener();
  const next = told.next();
  // Ends a watch that has missed it.
  setImmediate(() => stop.abort());
  assert.equal((await next).value?.status, Status.NOT_SERVING);
  await told.return?.();
  assert.equal(listeners.size, 0);
});
