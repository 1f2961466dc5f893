/** The person a turn acts for, as a verified access token names them. */
export interface Identity {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
}

export interface ProvenIdentity {
  readonly identity: Identity;
  /** The proof holds until then. */
  readonly expiresAtMs: number;
}

export interface DeviceIdentity {
  readonly tenant: string;
  readonly deviceId: string;
}
