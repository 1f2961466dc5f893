import { CATALOGUE, isErrorId, ZlError } from '@zerolatency/errors';

/** What a program wrote since its start, as the error that ended it. */
export function startFailure(service: string, said: string): ZlError {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const stated = statedInLog(lines) ?? statedAsText(lines);
  if (stated !== undefined) return new ZlError(stated.id, `${service}: ${stated.message}`);
  const last = lines.at(-1);
  const words = last === undefined ? ' without a word' : `; its last line was: ${last}`;
  return new ZlError('installation.failed', `${service} exited during its start${words}`);
}

/** A program that has a log states there why its start failed. */
function statedInLog(lines: readonly string[]) {
  for (const line of lines) {
    const { level, error_id: errorId, msg } = parse(line);
    if (level !== 'error' || typeof errorId !== 'string' || !isErrorId(errorId)) continue;
    return { id: errorId, message: String(msg).replace(/^start failed: /, '') };
  }
  return undefined;
}

/** Before its log is open it prints the error and its help for a person. */
function statedAsText(lines: readonly string[]) {
  for (const [index, line] of lines.entries()) {
    const [, id = '', first = ''] = /^([a-z_.]+): (.*)$/.exec(line) ?? [];
    if (!isErrorId(id)) continue;
    const rest = lines.slice(index + 1);
    const end = rest.indexOf(CATALOGUE[id].help);
    return { id, message: [first, ...rest.slice(0, Math.max(end, 0))].join('\n') };
  }
  return undefined;
}

function parse(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    // Text for a person.
    return {};
  }
}
