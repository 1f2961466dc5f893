/** The person or workload a turn acts for, as a verified access token or certificate names it. */
export interface Identity {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
}

export interface ProvenIdentity {
  readonly identity: Identity;
  /** The proof holds until then. */
  readonly expiresAtMs: number;
  /** Aborts when the proof is withdrawn before it expires; the reason is the ZlError for its client. */
  readonly withdrawn?: AbortSignal;
}

export interface DeviceIdentity {
  readonly tenant: string;
  readonly deviceId: string;
}
