export { ClientSessions } from './client-sessions.ts';
export { fromConnectError, toConnectError } from './connect-error.ts';
export { durationFromMicros, durationMicros } from './durations.ts';
export { healthService, type Serving } from './health.ts';
export { type HttpServer, type HttpServerOptions, listen } from './http-server.ts';
export { addReflection } from './reflection.ts';
export { answerUnimplemented } from './unimplemented.ts';
