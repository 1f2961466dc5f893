export { AddressGate } from './address-gate.ts';
export { Bucket } from './bucket.ts';
export { networkOf } from './network-of.ts';
