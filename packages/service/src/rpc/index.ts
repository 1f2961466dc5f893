export { ClientSessions } from './client-sessions.ts';
export { healthService, type Serving } from './health.ts';
export { type HttpServer, type HttpServerOptions, listen } from './http-server.ts';
