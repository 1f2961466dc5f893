export { type CertFiles, makeAuthority, type TestAuthority } from './authority.ts';
export { makeEnrolment, type TestDevice, type TestEnrolment } from './enrolment.ts';
export { eventually } from './eventually.ts';
export { FakeClock, type FakeTimer } from './fake-clock.ts';
export { type FaultProxy, faultProxy } from './fault-proxy.ts';
export { type FrameFields, frameBytes, onFrames } from './frames.ts';
export { freePort } from './free-port.ts';
export { type FullDisk, fullDisk } from './full-disk.ts';
export { makeKey, type TestKey } from './key.ts';
export { needsBubblewrap } from './needs-bubblewrap.ts';
export { nodeLauncher } from './node-launcher.ts';
export { type ExportedPoint, type ExportedSpan, OtlpCollector } from './otlp-collector.ts';
export { needsPostgres, type PostgresServer, startPostgres } from './postgres-server.ts';
export {
  needsRedis,
  type RedisServer,
  startRedis,
  startRedisCluster,
  startSentinel,
} from './redis-server.ts';
export { type Refusal, SocketServer } from './socket-server.ts';
export { type Teardown, tempDir } from './temp-dir.ts';
export { makeTokenIssuer, type TestTokenIssuer } from './token-issuer.ts';
export { refusalsOf } from './unreadable-requests.ts';
export {
  type ConnectProxy,
  connectProxy,
  type InspectingProxy,
  inspectingProxy,
} from './web-proxies.ts';
