import { X509Certificate } from 'node:crypto';
import { gaugeFrom, type Registry } from '../telemetry/index.ts';

/** Exports when the certificate in use expires, as Unix time. `certificate` returns its PEM, the leaf first. */
export function exposeCertificate(registry: Registry, certificate: () => string): void {
  gaugeFrom(
    registry,
    'zl_certificate_expires_timestamp_seconds',
    () => new X509Certificate(certificate()).validToDate.getTime() / 1000,
  );
}
