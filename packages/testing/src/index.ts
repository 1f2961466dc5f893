export { type CertFiles, makeAuthority, type TestAuthority } from './authority.ts';
export { makeEnrolment, type TestDevice, type TestEnrolment } from './enrolment.ts';
export { eventually } from './eventually.ts';
export { FakeClock, type FakeTimer } from './fake-clock.ts';
export { type FaultProxy, faultProxy } from './fault-proxy.ts';
export { makeKey, type TestKey } from './key.ts';
export { nodeLauncher } from './node-launcher.ts';
export { tempDir } from './temp-dir.ts';
export { makeTokenIssuer, type TestTokenIssuer } from './token-issuer.ts';
