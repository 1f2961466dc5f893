import type { Tool } from '@modelcontextprotocol/sdk/types.js';

/** What contracts/tools/fs.read/v1 says, as MCP tells it. */
export const readDefinition: Tool = {
  name: 'read',
  description: 'Reads a file, or a range of it, inside the roots.',
  inputSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['path'],
    properties: {
      path: { type: 'string', minLength: 1, maxLength: 4096 },
      offset: { type: 'integer', minimum: 0 },
      length: { type: 'integer', minimum: 0 },
      encoding: { enum: ['auto', 'text', 'base64'] },
    },
  },
  annotations: { readOnlyHint: true, openWorldHint: false },
};
