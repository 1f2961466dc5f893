import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { markOf, type ProcessMark } from '@zerolatency/service/processes';
import { eventually } from '@zerolatency/testing';

/** A process that has ended and whose parent will never ask how. */
export async function zombie(t: TestContext): Promise<ProcessMark> {
  // exec puts a program in the shell's place that never waits for the shell's child.
  const script = 'cat <&3 & echo $!; exec sleep 60';
  const parent = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore', 'pipe'] });
  t.after(() => parent.kill('SIGKILL'));
  const [, output, , input] = parent.stdio;
  const [printed] = await once(output!, 'data');
  const pid = Number(String(printed));
  await eventually(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n');
  const mark = markOf(pid);
  // The end of what it reads is its own end.
  input?.destroy();
  await eventually(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '));
  return mark!;
}
