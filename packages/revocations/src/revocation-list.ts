import { compileSchema } from '@zerolatency/contracts';
import type { DocumentKind } from '@zerolatency/signing';
import type { RevocationList } from '../../../contracts/gen/revocations.d.ts';
import schema from '../../../contracts/policy/revocations.schema.json' with { type: 'json' };

export type { RevocationList } from '../../../contracts/gen/revocations.d.ts';

const validator = compileSchema<RevocationList>(schema, 'built-in');

/** So that a list with the longest names still fits into an envelope. */
export const MAX_REVOKED_DEVICES = schema.properties.devices.maxItems;

/** It does not expire: who withholds it gains no more than the rest of a credential's day. */
export const REVOCATION_LIST: DocumentKind<RevocationList> = {
  name: 'revocation list',
  withoutIt: 'no device is admitted',
  logField: 'revocations',
  errorId: 'revocations.invalid',
  payloadType: 'application/vnd.zerolatency.revocations.v1+json',
  schema: 'zerolatency.revocations/v1',
  check: checkList,
};

/** Checks the shape, and what a schema cannot express. */
function checkList(value: unknown) {
  const shape = validator.validate(value);
  if (shape.error !== undefined) return { fault: `${shape.error.field}: ${shape.error.message}` };
  const content = shape.value;
  const named = new Set<string>();
  for (const { tenant, device, revokedAt, enrolledAt = revokedAt } of content.devices) {
    const name = keyOf(tenant, device);
    if (named.has(name)) return { fault: `${device} of ${tenant} is listed twice` };
    named.add(name);
    for (const instant of [revokedAt, enrolledAt]) {
      if (Number.isNaN(Date.parse(instant))) return { fault: `${instant} is not a date` };
    }
  }
  if (Number.isNaN(Date.parse(content.issuedAt))) return { fault: 'issuedAt is not a date' };
  return { content };
}

/** Neither name contains a space. */
export function keyOf(tenant: string, deviceId: string): string {
  return `${tenant} ${deviceId}`;
}
