export { acquireLock, type Lock } from './lock.ts';
export {
  hasItsNumber,
  isProcessMark,
  isRunning,
  markOf,
  type ProcessMark,
} from './process-mark.ts';
export { loadSqlite } from './sqlite.ts';
