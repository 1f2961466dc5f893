/** What a one-time code stands for. */
export interface Invitation {
  readonly tenant: string;
  /** Empty: the device proposes a name. */
  readonly deviceId: string;
  /** As a credential states it: a revocation covers the codes that were made before it. */
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** Open at the same time. An operator who invites more has no use for codes of 15 minutes. */
export const CODE_LIMITS = { tenant: 1_000, all: 10_000 };

export type CodeAdded = 'added' | 'tenant is full' | 'store is full';

/** One-time codes by their hashes. An expired one is as if it had never been. */
export interface CodeStore {
  /** Adds nothing beyond CODE_LIMITS. A code that was taken can be given back. */
  add(codeHash: string, invitation: Invitation): Promise<CodeAdded>;
  has(codeHash: string): Promise<boolean>;
  /** Removes the code: when two take it at the same time, one gets it. */
  take(codeHash: string): Promise<Invitation | undefined>;
  /** For a component report. */
  status(): { readonly status: 'ok' | 'degraded'; readonly detail: string };
  close(): void;
}
