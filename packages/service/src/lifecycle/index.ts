export type {
  AdminPage,
  AdminPages,
  AdminRequest,
  ComponentCheck,
  ComponentStatus,
} from './admin-server.ts';
export { serveAdmin } from './admin-server.ts';
export { type ConfigChecks, expectFreePort, expectWritable } from './config-checks.ts';
export { Lifecycle } from './lifecycle.ts';
export { type ProgramDeps, runProgram } from './run-program.ts';
