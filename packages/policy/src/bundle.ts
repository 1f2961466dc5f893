/** contracts/policy/bundle.schema.json says what each field means and how far it goes. */
export interface Bundle {
  readonly schema: 'zerolatency.policy/v1';
  readonly id: string;
  readonly version: number;
  readonly issuedAt: string;
  readonly expiresAt: string;
  readonly graceMs?: number;
  readonly rules: readonly Rule[];
}

export interface Rule {
  readonly id: string;
  readonly description?: string;
  readonly effect: 'allow' | 'deny';
  readonly tools: readonly string[];
  readonly versions?: string;
  readonly tenants?: readonly string[];
  readonly roles?: readonly string[];
  readonly users?: readonly string[];
  readonly devices?: readonly string[];
  readonly hours?: Hours;
  readonly paths?: Paths;
  readonly caps?: Caps;
  readonly duringGrace?: boolean;
}

export interface Hours {
  readonly from: string;
  readonly to: string;
  readonly days?: readonly Day[];
  readonly timeZone?: string;
}

export type Day = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun';

export interface Paths {
  readonly argument: string;
  readonly within: readonly string[];
}

export interface Caps {
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
  readonly callsPerTurn?: number;
}

/** How receipts and audit name the bundle that decided. */
export function policyId(bundle: Pick<Bundle, 'id' | 'version'>): string {
  return `${bundle.id}@${bundle.version}`;
}
