// Generated from contracts/plan/plan.schema.json by `make generate`.

export interface Plan {
  /**
   * Text for the person.
   */
  readonly answer?: string;
  /**
   * Tool calls, run before the next reply.
   */
  readonly calls?: readonly Call[];
}
export interface Call {
  readonly tool: string;
  readonly arguments?: {
    readonly [k: string]: unknown;
  };
}
