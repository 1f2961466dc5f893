export type { ComponentCheck, ComponentReport, ComponentStatus } from './admin-server.ts';
export { type AdminServer, serveAdmin } from './admin-server.ts';
export { Lifecycle, type ShutdownRequest } from './lifecycle.ts';
export { type ProgramDeps, runProgram } from './run-program.ts';
export type { SignalSource } from './run-service.ts';
export type { RunState, RunStateName } from './run-state.ts';
