export interface StdioLimits {
  /** One JSON-RPC message, and so the most a server makes us hold while it has not ended a line. */
  readonly maxLineBytes: number;
  /** Written by us and not yet read by the server. */
  readonly maxPendingBytes: number;
  /** Lines that are not JSON-RPC before the server counts as broken. */
  readonly maxBadLines: number;
  /** A server that prints faster than this is not answering anyone. */
  readonly maxLinesPerSecond: number;
  readonly startTimeoutMs: number;
  /** Between closing stdin, SIGTERM and SIGKILL. */
  readonly stopGraceMs: number;
  readonly maxTools: number;
}

export const defaultLimits: StdioLimits = {
  // A 1 MiB file as base64, twice over in text and structured content, and room for JSON escapes.
  maxLineBytes: 8 * 1024 * 1024,
  maxPendingBytes: 8 * 1024 * 1024,
  // A banner or a stray console.log is common and harmless; a stream of them is not MCP.
  maxBadLines: 16,
  // Four times what one server was seen to answer, and what a slow machine still reads
  // in half a second: a bound beyond that is never met, and the flood never ends.
  maxLinesPerSecond: 20_000,
  // Interpreters on a cold disk take seconds.
  startTimeoutMs: 15_000,
  stopGraceMs: 1_000,
  maxTools: 256,
};
