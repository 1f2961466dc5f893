export { type Contents, type FileWatch, fileFault, watchFiles } from './watch-files.ts';
export { makeFolder, readIfThere, syncDirectory, writeAtomically } from './write-atomically.ts';
