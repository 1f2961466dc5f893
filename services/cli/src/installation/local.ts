/** Names in a local installation. Elsewhere they come from an identity provider. */
export const LOCAL = {
  issuer: 'https://issuer.localhost',
  audience: 'zero-latency',
  enrolmentIssuer: 'https://enrolment.localhost',
  tenant: 'local',
  user: 'me',
  roles: ['developer'],
  deviceId: 'this-machine',
} as const;
