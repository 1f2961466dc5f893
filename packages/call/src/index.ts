export type {
  CallerOutcome,
  CallProgress,
  CallRequest,
  McpRequest,
} from './call.ts';
export { Callee } from './callee.ts';
export type {
  AbortReason,
  CalleeCall,
  CalleeLimits,
  CalleeOutcome,
  CalleeSink,
  Finish,
  Seal,
} from './callee-ports.ts';
export { Caller, type CallerStateName } from './caller.ts';
export type {
  CallerLimits,
  CallerRequest,
  CallerSink,
  CallIntent,
  Route,
} from './caller-ports.ts';
export {
  type DispatchedEntry,
  type FinishedEntry,
  type Journal,
  type JournalEntry,
  MemoryJournal,
} from './journal.ts';
export { JournalClock } from './journal-clock.ts';
export { isReadableRequest } from './journal-writer.ts';
export { requestDigest } from './messages.ts';
