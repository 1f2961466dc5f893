export { type Contents, type FileWatch, watchFiles } from './watch-files.ts';
export { syncDirectory, writeAtomically } from './write-atomically.ts';
