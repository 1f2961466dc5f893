import { fromUnknown } from '@zerolatency/errors';

export interface ComponentStatus {
  readonly status: 'ok' | 'degraded' | 'down';
  readonly detail?: string;
  readonly version?: string;
}

export type ComponentCheck = () => Promise<ComponentStatus>;

export interface ComponentReport extends ComponentStatus {
  readonly name: string;
  readonly latencyMs: number;
  readonly error?: { readonly id: string; readonly message: string };
}

/** Asks all components at once; one that is silent for too long is down. */
export function reportComponents(
  components: Readonly<Record<string, ComponentCheck>>,
  timeoutMs: number,
): Promise<ComponentReport[]> {
  const reports = Object.entries(components).map(([name, check]) =>
    reportOne(name, check, timeoutMs),
  );
  return Promise.all(reports);
}

async function reportOne(
  name: string,
  check: ComponentCheck,
  timeoutMs: number,
): Promise<ComponentReport> {
  const startedMs = performance.now();
  const { promise: timeout, resolve } = Promise.withResolvers<ComponentStatus>();
  const timer = setTimeout(
    () => resolve({ status: 'down', detail: `no answer within ${timeoutMs} ms` }),
    timeoutMs,
  );
  try {
    const result = await Promise.race([check(), timeout]);
    return { name, ...result, latencyMs: elapsedMs(startedMs) };
  } catch (reason) {
    // A failing check is what the report is for.
    const { id, message } = fromUnknown(reason);
    return { name, status: 'down', latencyMs: elapsedMs(startedMs), error: { id, message } };
  } finally {
    clearTimeout(timer);
  }
}

function elapsedMs(startedMs: number): number {
  return Math.round((performance.now() - startedMs) * 1000) / 1000;
}

export function worstStatus(reports: readonly ComponentReport[]): ComponentStatus['status'] {
  if (reports.some(({ status }) => status === 'down')) return 'down';
  if (reports.some(({ status }) => status === 'degraded')) return 'degraded';
  return 'ok';
}
