// Generated from contracts/plan/verdict.schema.json by `make generate`.

export interface Verdict {
  readonly verdict: 'accept' | 'retry' | 'stop';
  readonly reason: string;
}
