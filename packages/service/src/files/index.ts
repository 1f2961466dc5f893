export { type Contents, type FileWatch, type FileWatchOptions, watchFiles } from './watch-files.ts';
