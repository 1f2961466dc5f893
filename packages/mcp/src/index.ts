export { defaultLimits, type StdioLimits } from './limits.ts';
export { killGroup } from './process-group.ts';
export {
  type CallOptions,
  type McpSession,
  type StdioServer,
  startStdioServer,
} from './session.ts';
export { type CloseReason, StdioTransport } from './stdio-transport.ts';
