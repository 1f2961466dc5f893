export { AddressGate } from './address-gate.ts';
export { Bucket } from './bucket.ts';
export { embeddedIpv4, networkOf } from './network-of.ts';
