import { LineSplitter } from './line-splitter.ts';

const maxLineBytes = 4096;
/** A server that logs in a loop must not fill the bridge's log or its CPU. */
const maxLinesPerSecond = 50;

/** Feeds a server's stderr to a log, line by line and within bounds. */
export function stderrLog(onLine: (line: string) => void): (chunk: Buffer) => void {
  const splitter = new LineSplitter(maxLineBytes);
  let windowStartMs = 0;
  let lines = 0;
  let dropped = 0;

  const admit = (line: string) => {
    const nowMs = performance.now();
    if (nowMs - windowStartMs > 1000) {
      if (dropped > 0) onLine(`(${dropped} lines dropped)`);
      windowStartMs = nowMs;
      lines = 0;
      dropped = 0;
    }
    if (++lines > maxLinesPerSecond) dropped++;
    else onLine(line);
  };

  return (chunk) => {
    if (splitter.push(chunk, admit)) return;
    splitter.clear();
    admit('(a line longer than the bound was dropped)');
  };
}
