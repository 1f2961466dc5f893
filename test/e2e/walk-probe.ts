import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface WalkFiles {
  /** Written when the recording has begun. */
  readonly started: string;
  /** The files that this process executed, written when the recording has ended. */
  readonly output: string;
}

/** SIGUSR2 begins a recording of the files that this process executes, and ends it. @internal */
export async function probeWalk(root: string, { started, output }: WalkFiles): Promise<void> {
  const inspector = new Session();
  inspector.connect();
  await inspector.post('Profiler.enable');
  await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  let isRecording = false;

  const toggle = async () => {
    // Taking the coverage also sets every count back to 0.
    const { result } = await inspector.post('Profiler.takePreciseCoverage');
    const executed = result
      .filter(({ functions }) => functions.some(({ ranges }) => ranges.some((r) => r.count > 0)))
      .filter(({ url }) => url.startsWith('file:'))
      .map(({ url }) => relative(root, fileURLToPath(url)));
    const file = isRecording ? output : started;
    // Whole when it appears, because the test waits for it to exist.
    writeFileSync(`${file}.next`, JSON.stringify(executed));
    renameSync(`${file}.next`, file);
    isRecording = !isRecording;
  };
  process.on('SIGUSR2', () => void toggle());
}
