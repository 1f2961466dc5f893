type Report = Readonly<Record<string, unknown>>;

/** What a component that answers says is wrong with it, in its own words. */
export function whatIsWrong(report: Report = {}): string {
  const own = report.state === 'live' || typeof report.why !== 'string' ? [] : [report];
  const parts = [...listOf(report.components), ...listOf(report.servers)];
  const held = (['policy', 'manifest'] as const).flatMap((name) =>
    listOf([report[name]]).map((each) => ({ ...each, name })),
  );
  return [
    ...own.map(({ state, why }) => `${state}: ${why}`),
    ...[...parts, ...held].filter(isUnwell).map(describe),
  ].join('; ');
}

/** A component has a status; an MCP server of a bridge has a state, and so have policy and manifest. */
function isUnwell({ status, state }: Report): boolean {
  return status !== 'ok' && state !== 'ready' && state !== 'active';
}

function describe({ name, status, state, detail, why, error }: Report): string {
  const message = isRecord(error) ? error.message : undefined;
  const reason = [message, why, detail].find((text) => typeof text === 'string');
  return `${name} is ${status ?? state}${reason === undefined ? '' : `: ${reason}`}`;
}

function listOf(value: unknown): Report[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function isRecord(value: unknown): value is Report {
  return typeof value === 'object' && value !== null;
}
