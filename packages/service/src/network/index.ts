export { AddressGate } from './address-gate.ts';
export { networkOf } from './network-of.ts';
