/** Names of a local installation; an enterprise's own come from its identity provider. */
export const local = {
  issuer: 'https://issuer.localhost',
  audience: 'zero-latency',
  enrolmentIssuer: 'https://enrolment.localhost',
  tenant: 'local',
  user: 'me',
  roles: ['developer'],
  deviceId: 'this-machine',
} as const;
