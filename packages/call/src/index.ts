export {
  type CallerOutcome,
  type CallProgress,
  type CallRequest,
  type McpRequest,
  type Principal,
  requestDigest,
} from './call.ts';
export { Callee } from './callee.ts';
export {
  type AbortReason,
  CALLEE_LIMITS,
  type CalleeCall,
  type CalleeLimits,
  type CalleeOutcome,
  type CalleeSink,
  type Finish,
  type Seal,
} from './callee-ports.ts';
export { Caller } from './caller.ts';
export {
  CALLER_LIMITS,
  type CallerLimits,
  type CallerRequest,
  type CallerSink,
  type CallIntent,
  type Route,
} from './caller-ports.ts';
export type { CallerStateName } from './caller-state.ts';
export {
  type DispatchedEntry,
  type FinishedEntry,
  type Journal,
  type JournalEntry,
  MemoryJournal,
} from './journal.ts';
