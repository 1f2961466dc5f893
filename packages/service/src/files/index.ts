export { type Contents, type FileWatch, type FileWatchOptions, watchFiles } from './watch-files.ts';
export { syncDirectory, writeAtomically } from './write-atomically.ts';
