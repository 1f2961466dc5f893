/** Names in a local installation. Elsewhere they come from an identity provider. */
export const local = {
  issuer: 'https://issuer.localhost',
  audience: 'zero-latency',
  enrolmentIssuer: 'https://enrolment.localhost',
  tenant: 'local',
  user: 'me',
  roles: ['developer'],
  deviceId: 'this-machine',
} as const;
