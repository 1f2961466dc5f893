// Generated from contracts/policy/revocations.schema.json by `make generate`.

/**
 * The devices whose credentials no longer count. Payload of a DSSE envelope of type application/vnd.zerolatency.revocations.v1+json, in canonical JSON (RFC 8785). A list replaces the one before it whole. It does not expire.
 */
export interface RevocationList {
  readonly schema: 'zerolatency.revocations/v1';
  /**
   * Names the list. A relay or host follows one id and never goes back in its versions.
   */
  readonly id: string;
  readonly version: number;
  /**
   * UTC, RFC 3339.
   */
  readonly issuedAt: string;
  /**
   * At most one entry for a device. An entry may be left out once every credential that it revokes has expired.
   */
  readonly devices: readonly {
    readonly tenant: string;
    readonly device: string;
    /**
     * Credentials of the device whose time of issue (iat) is this second or an earlier one are revoked, and those that state none. One that is issued later counts, so that the device can enrol again.
     */
    readonly revokedAt: string;
    /**
     * When the device enrolled again after that. Absent while nothing that it was issued counts, so that whoever looks for it can be told why it is not there.
     */
    readonly enrolledAt?: string;
  }[];
}
