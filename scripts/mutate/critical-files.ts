/** Files in which a defect that no test notices would do harm, and the tests that must notice it. */
export interface CriticalFiles {
  readonly files: string;
  /** The cheapest first: a mutant dies of the first that fails. */
  readonly tests: readonly string[];
}

export const CRITICAL: readonly CriticalFiles[] = [
  {
    files: 'packages/call/src/*.ts',
    tests: ['packages/call/src/*.test.ts', 'packages/call/test/call-properties.test.ts'],
  },
  { files: 'packages/frame/src/*.ts', tests: ['packages/frame/src/{frame,codec}.test.ts'] },
  {
    files: 'packages/identity/src/[!d]*.ts',
    tests: ['packages/identity/src/*.test.ts'],
  },
  {
    files: 'packages/identity/src/device-credential.ts',
    tests: [
      'services/tool-relay/src/sessions/*.test.ts',
      'services/tool-relay/test/{device-sessions,rpc}.test.ts',
    ],
  },
  { files: 'packages/signing/src/*.ts', tests: ['packages/{signing,policy}/src/*.test.ts'] },
  {
    files: 'packages/policy/src/{decide,path-scope,hours}.ts',
    tests: ['packages/policy/src/{hours,glob,path-scope,decide}.test.ts'],
  },
  {
    files: 'packages/ledger/src/{call-history,policy-history,read-receipt}.ts',
    tests: ['packages/ledger/src/call-history.test.ts', 'test/outside/altered-ledgers.test.ts'],
  },
  {
    files: 'packages/ledger/src/{[!cpr]*,c[!a]*,pr*,read,rec*}.ts',
    tests: [
      'packages/ledger/src/{[!cm]*,checkpoint,commit-queue}.test.ts',
      'test/outside/altered-ledgers.test.ts',
      'packages/ledger/src/{machine-crash,crash}.test.ts',
    ],
  },
  { files: 'packages/contracts/src/*.ts', tests: ['packages/contracts/src/*.test.ts'] },
  { files: 'packages/receipts/src/*.ts', tests: ['packages/receipts/src/*.test.ts'] },
  {
    files: 'packages/manifest/src/*.ts',
    tests: ['packages/manifest/src/*.test.ts'],
  },
  {
    files: 'packages/redaction/src/foreign-text.ts',
    tests: ['packages/redaction/src/foreign-text.test.ts'],
  },
  {
    files: 'packages/redaction/src/{[!f]*,matchers/*}.ts',
    tests: ['packages/redaction/src/{mask-json,encoded,stream-masker,mask-text}.test.ts'],
  },
  {
    files: 'services/device-bridge/src/adapters/journal/*.ts',
    tests: ['services/device-bridge/src/adapters/journal/*.test.ts'],
  },
  {
    files: 'services/device-bridge/src/{calls/*,adapters/files/real-folders}.ts',
    tests: [
      'services/device-bridge/src/calls/{device-calls,calls}.test.ts',
      'services/device-bridge/src/calls/{manifest-change,opened-files,sandbox-demand}.test.ts',
    ],
  },
  {
    files: 'services/device-bridge/src/{sandbox/containment,adapters/processes/bubblewrap}.ts',
    tests: ['services/device-bridge/src/adapters/processes/*.test.ts'],
  },
  {
    files: 'services/device-bridge/src/tools/fs/*.ts',
    tests: ['services/device-bridge/src/tools/fs/*.test.ts'],
  },
  {
    files: 'services/tool-relay/src/{limits/*,sessions/session-state,sockets/arrivals}.ts',
    tests: ['services/tool-relay/src/{limits,sockets,sessions}/*.test.ts'],
  },
  {
    files: 'services/tool-relay/src/routing/*.ts',
    tests: [
      'services/tool-relay/src/routing/*.test.ts',
      'services/tool-relay/test/{drain,links}.test.ts',
    ],
  },
  {
    files: 'services/model-host/src/adapters/jwks/token-verifier.ts',
    tests: ['services/model-host/src/adapters/jwks/*.test.ts'],
  },
  {
    files: 'services/model-host/src/adapters/ledger/host-ledger.ts',
    tests: ['services/model-host/src/adapters/ledger/*.test.ts'],
  },
  {
    files: 'services/model-host/src/limits/*.ts',
    tests: ['services/model-host/src/limits/*.test.ts'],
  },
  {
    files: 'services/model-host/src/calls/settle.ts',
    tests: [
      'services/model-host/src/calls/{text-for-model,visible-tools,traced-call}.test.ts',
      'services/model-host/src/calls/{toolbox,every-ending,close-open-intents}.test.ts',
      'services/model-host/test/retryable.test.ts',
    ],
  },
];
