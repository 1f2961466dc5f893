export {
  connectMcp,
  type McpConnection,
  type McpOptions,
  type McpTool,
  type McpTransport,
  type Progress,
  type RequestOptions,
} from './connection.ts';
export { killGroup } from './process-group.ts';
export type { CloseReason, StdioLimits } from './stdio-transport.ts';
