// Writes docs/errors.md from the catalogue; with --check only says whether it is current.
import { readFileSync, writeFileSync } from 'node:fs';
import { Code } from '@connectrpc/connect';
import { catalogue } from '../packages/errors/src/index.ts';

const path = 'docs/errors.md';

function section([id, { code, retryable, help }]: [
  string,
  (typeof catalogue)[keyof typeof catalogue],
]) {
  const kind = `\`${Code[code]}\`, ${retryable ? 'may be retried' : 'not to be retried'}`;
  return `## ${id}\n\n${kind}. ${help}\n`;
}

const page = `# Errors

Every error the system tells anyone is one of these. The id never changes: branch on it, alert on it
(it is the \`error_id\` label of metrics), search for it. An RPC that fails carries it as a detail of type
\`zerolatency.agent.v1.Error\`; a turn that fails ends with the same message as its last event.

Written from \`packages/errors/src/catalogue.ts\` by \`make generate\`.

${Object.entries(catalogue).map(section).join('\n')}`;

if (process.argv.includes('--check'))
  process.exitCode = readFileSync(path, 'utf8') === page ? 0 : 1;
else writeFileSync(path, page);
