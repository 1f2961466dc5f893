/** Files in which a defect that no test notices would do harm, and the tests that must notice it. */
export interface CriticalFiles {
  readonly files: string;
  readonly tests: readonly string[];
}

export const CRITICAL: readonly CriticalFiles[] = [
  {
    files: 'packages/call/src/*.ts',
    tests: ['packages/call/src/*.test.ts', 'packages/call/test/*.test.ts'],
  },
  { files: 'packages/frame/src/*.ts', tests: ['packages/frame/src/*.test.ts'] },
  { files: 'packages/identity/src/*.ts', tests: ['packages/identity/src/*.test.ts'] },
  { files: 'packages/signing/src/*.ts', tests: ['packages/{signing,policy}/src/*.test.ts'] },
  {
    files: 'packages/policy/src/{decide,path-scope,hours}.ts',
    tests: ['packages/policy/src/*.test.ts'],
  },
  { files: 'packages/ledger/src/*.ts', tests: ['packages/ledger/src/*.test.ts'] },
  { files: 'packages/contracts/src/*.ts', tests: ['packages/contracts/src/*.test.ts'] },
  { files: 'packages/receipts/src/*.ts', tests: ['packages/receipts/src/*.test.ts'] },
  {
    files: 'packages/redaction/src/foreign-text.ts',
    tests: ['packages/redaction/src/foreign-text.test.ts'],
  },
  {
    files: 'packages/redaction/src/{[!f]*,matchers/*}.ts',
    tests: ['packages/redaction/src/{mask*,encoded,stream-masker}.test.ts'],
  },
  {
    files: 'services/device-bridge/src/adapters/sqlite/*.ts',
    tests: ['services/device-bridge/src/adapters/sqlite/*.test.ts'],
  },
  {
    files: 'services/device-bridge/src/tools/fs/*.ts',
    tests: ['services/device-bridge/src/tools/fs/*.test.ts'],
  },
  {
    files: 'services/tool-relay/src/{limits/*,sessions/session-state}.ts',
    tests: ['services/tool-relay/src/{limits,sessions}/*.test.ts'],
  },
  {
    files: 'services/model-host/src/{calls/settle,limits/*}.ts',
    tests: ['services/model-host/src/{calls,limits}/*.test.ts'],
  },
];
