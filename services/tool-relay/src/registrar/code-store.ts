/** What a one-time code stands for. */
export interface Invitation {
  readonly tenant: string;
  /** Empty: the device proposes a name. */
  readonly deviceId: string;
  /** As a credential states it: a revocation covers the codes that were made before it. */
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** One-time codes by their hashes. An expired one is as if it had never been. */
export interface CodeStore {
  /** Returns false when it is full. */
  add(codeHash: string, invitation: Invitation): Promise<boolean>;
  has(codeHash: string): Promise<boolean>;
  /** Removes the code: when two take it at the same time, one gets it. */
  take(codeHash: string): Promise<Invitation | undefined>;
  /** For a component report. */
  status(): { readonly status: 'ok' | 'degraded'; readonly detail: string };
  close(): void;
}
