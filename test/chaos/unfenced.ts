// Loads the programs of the host and the bridge without the fences of the epoch, for the control
// run: imported before a program's main.ts, it takes the comparisons out of the sources.
import { registerHooks } from 'node:module';

interface Fence {
  /** The end of the file's path. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const FENCES: readonly Fence[] = [
  {
    file: '/packages/call/src/callee-entries.ts',
    from: 'if (epoch < currentEpoch) return RefusedReason.OLD_EPOCH;',
    to: '',
  },
  {
    file: '/packages/call/src/callee.ts',
    from: 'frame.epoch < epoch',
    to: 'false',
  },
  {
    file: '/packages/call/src/caller.ts',
    from: 'const isProof = epochs.length === 0 || epochs.includes(this.#sender.sentEpoch);',
    to: 'const isProof = true;',
  },
  {
    file: '/packages/call/src/caller.ts',
    from: ' || frame.epoch < this.#sender.epoch',
    to: '',
  },
];

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const fences = FENCES.filter(({ file }) => url.endsWith(file));
    if (fences.length === 0) return loaded;
    let source = String(loaded.source);
    for (const { file, from, to } of fences) {
      // Without this a fence that moved would make the control run one more run with fences.
      if (!source.includes(from)) throw new Error(`${file} has no fence: ${from}`);
      source = source.replace(from, to);
    }
    return { ...loaded, source };
  },
});
