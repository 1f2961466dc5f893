export type { CallProgress, CallRequest, Principal } from './call-request.ts';
export { Callee } from './callee.ts';
export {
  type AbortReason,
  CALLEE_LIMITS,
  type CalleeCall,
  type CalleeLimits,
  type CalleeSink,
  type Ending,
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
export type { DispatchedEntry, FinishedEntry, Journal, JournalEntry } from './journal.ts';
export { MemoryJournal } from './memory-journal.ts';
export type { CallOutcome } from './outcome.ts';
export { type McpRequest, requestDigest } from './request-digest.ts';
