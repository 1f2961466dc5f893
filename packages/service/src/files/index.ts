export { type Contents, type FileWatch, fileFault, watchFiles } from './watch-files.ts';
export { syncDirectory, writeAtomically } from './write-atomically.ts';
