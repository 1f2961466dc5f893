import { ZlError } from '@zerolatency/errors';
import type { OfferedTool } from './tool-device.ts';

export const ANYTHING = { type: 'object', additionalProperties: true } as const;

/** The result of fs.read for a file with this text. */
export function fileOf(text: string) {
  const length = Buffer.byteLength(text);
  const structuredContent = {
    path: '/home/user/welcome.txt',
    size: length,
    offset: 0,
    length,
    encoding: 'text',
    content: text,
    truncated: false,
  };
  return { content: [{ type: 'text', text }], structuredContent };
}

export function readTool(text = 'hello'): OfferedTool {
  return { name: 'fs.read', inputSchema: ANYTHING, handler: async () => fileOf(text) };
}

/** Runs until its call is cancelled. */
export function stuckTool(name = 'slow.wait'): OfferedTool {
  const handler: OfferedTool['handler'] = (_, signal) =>
    new Promise((_resolve, reject) => {
      const stop = () => reject(new ZlError('call.cancelled', 'stopped'));
      signal.addEventListener('abort', stop);
    });
  return { name, inputSchema: ANYTHING, handler };
}

/** Runs until the test calls `finish`. */
export function heldTool(name = 'held.run') {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const tool: OfferedTool = { name, inputSchema: ANYTHING, handler: () => promise };
  return { tool, finish: (text: string) => resolve(fileOf(text)) };
}
