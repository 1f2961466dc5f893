export { answerError } from './answer-error.ts';
export { ClientSessions } from './client-sessions.ts';
export { fromConnectError, readingError, toConnectError } from './connect-error.ts';
export type { ListenerLimits } from './connections.ts';
export { durationFromMicros, durationMicros } from './durations.ts';
export { healthService, type Serving } from './health.ts';
export {
  type HttpServer,
  type HttpServerOptions,
  listen,
  type Origins,
} from './http-server.ts';
export { exposeListener, watchListener } from './listener-telemetry.ts';
export { addReflection } from './reflection.ts';
export {
  type FailedStream,
  type MessageStream,
  responseStreamOf,
  runStreaming,
} from './response-stream.ts';
export { type ArrivedRpc, rpcHandler, type Serve } from './rpc-handler.ts';
