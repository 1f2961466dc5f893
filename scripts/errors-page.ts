// Writes docs/errors.md from the catalogue; with --check only says whether it is current.
import { readFileSync, writeFileSync } from 'node:fs';
import { CATALOGUE } from '../packages/errors/src/index.ts';

const PATH = 'docs/errors.md';

function section([id, { code, retryable, help }]: [
  string,
  (typeof CATALOGUE)[keyof typeof CATALOGUE],
]) {
  const kind = `\`${code}\`, ${retryable ? 'may be retried' : 'not to be retried'}`;
  return `## ${id}\n\n${kind}. ${help}\n`;
}

const page = `# Errors

Every error the system reports is one of these. An id never changes: branch on it, alert on it (it is the
\`error_id\` label of metrics), search for it.

A failed RPC carries the id in its details: as \`zerolatency.errors.v1.Error\`, and as \`google.rpc.ErrorInfo\`
with the id as \`reason\` and the domain \`zerolatency\`. \`google.rpc.BadRequest\` names a wrong field, and
\`google.rpc.RetryInfo\` marks an error that may be retried; its delay is always one second, to begin a backoff
with. A failed turn ends with the same \`Error\` as its last event.

The \`retryable\` flag of an \`Error\` depends on the ending and not only on the id. The page names the ids that can
be retried at all; the flag is false once a tool with effects may have run in the call, in the turn or, for a failed
RPC, on its stream.

Generated from \`packages/errors/src/catalogue.ts\` by \`make generate\`.

${Object.entries(CATALOGUE).map(section).join('\n')}`;

if (process.argv.includes('--check'))
  process.exitCode = readFileSync(PATH, 'utf8') === page ? 0 : 1;
else writeFileSync(PATH, page);
