import type { JSONObject, Tool } from '@modelcontextprotocol/server';
import argsSchema from '../../../../../contracts/tools/fs.read/v1/args.schema.json' with {
  type: 'json',
};
import manifest from '../../../../../contracts/tools/fs.read/v1/manifest.json' with {
  type: 'json',
};
import resultSchema from '../../../../../contracts/tools/fs.read/v1/result.schema.json' with {
  type: 'json',
};

/** What contracts/tools/fs.read/v1 says, as MCP tells it. */
export const readDefinition = {
  name: 'read',
  description: manifest.description,
  inputSchema: embedded(argsSchema),
  outputSchema: embedded(resultSchema),
  annotations: { readOnlyHint: true, openWorldHint: false },
} satisfies Tool;

export const fsVersion = manifest.version;

interface ObjectSchema {
  readonly required: string[];
  readonly properties: Record<string, JSONObject>;
}

/** Without the fields of a document of its own, which some MCP clients' validators refuse. */
function embedded({ required, properties }: ObjectSchema) {
  return { type: 'object' as const, additionalProperties: false, required, properties };
}
