import { eventually } from '@zerolatency/testing';
import type { Service } from '../../services/cli/src/installation/processes.ts';
import type { System } from './system.ts';

/** One line of a service's log, or of its announcements. */
export type LogLine = Readonly<Record<string, unknown>>;

/** Every line; fails when one is not JSON. */
export async function logLines(system: System, service: Service): Promise<LogLine[]> {
  const text = await system.log(service);
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
}

/** How much has been logged: what comes later is told from what came before. */
export async function logMark(system: System, service: Service): Promise<number> {
  return (await logLines(system, service)).length;
}

/** The first line that fits, of those after the mark. */
export async function logged(
  system: System,
  service: Service,
  { fits, mark = 0 }: { readonly fits: (line: LogLine) => boolean; readonly mark?: number },
): Promise<LogLine> {
  return await eventually(async () => (await logLines(system, service)).slice(mark).find(fits), {
    timeoutMs: 20_000,
    everyMs: 20,
  });
}
