export { acquireLock, type Lock, loadSqlite } from './lock.ts';
export {
  hasItsNumber,
  isProcessMark,
  isRunning,
  markOf,
  type ProcessMark,
} from './process-mark.ts';
