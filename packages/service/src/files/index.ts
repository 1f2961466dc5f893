export { type Contents, type FileWatch, fileFault, watchFiles } from './watch-files.ts';
export { readIfThere, syncDirectory, writeAtomically } from './write-atomically.ts';
