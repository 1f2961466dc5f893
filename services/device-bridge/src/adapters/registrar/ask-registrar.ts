import type { KeyObject } from 'node:crypto';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { enrolmentCodeHash, signEnrolmentProof } from '@zerolatency/identity';
import { EnrolmentService, type EnrolResponse } from '@zerolatency/proto/enrolment';
import { fromConnectError } from '@zerolatency/service/rpc';
import { type HttpProxy, Route } from '../proxy/proxies.ts';

export interface EnrolmentOffer {
  /** In the form that `parseEnrolmentCode` returns. */
  readonly code: string;
  readonly key: KeyObject;
  /** Origin of the registrar. */
  readonly url: string;
  /** PEM text of the authorities that vouch for the registrar. */
  readonly ca: string;
  /** Empty: the registrar chooses a name. */
  readonly deviceId: string;
  readonly platform: string;
  readonly proxy?: HttpProxy | undefined;
}

/** A registrar that does not answer within this time is unreachable. */
const TIMEOUT_MS = 15_000;

/** Two signed files, as large as they may be on a disk, and their keys. */
const READ_MAX_BYTES = 10 * 1024 * 1024;

/** Uses the code up, and returns all that the bridge needs to start. */
export async function askRegistrar(offer: EnrolmentOffer): Promise<EnrolResponse> {
  const { code, key, url, ca, deviceId, platform, proxy } = offer;
  const route = new Route(proxy);
  const claim = { codeHash: enrolmentCodeHash(code), audience: url, nowMs: Date.now() };
  const { jwk: deviceKeyJwk, proof } = await signEnrolmentProof(key, claim);
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '1.1',
    nodeOptions: { ca, minVersion: 'TLSv1.2', agent: route.agent(false) },
    readMaxBytes: READ_MAX_BYTES,
  });
  const request = { code, deviceKeyJwk, proof, deviceId, platform };
  try {
    const client = createClient(EnrolmentService, transport);
    return await client.enrol(request, { timeoutMs: TIMEOUT_MS });
  } catch (reason) {
    throw failureOf(reason, url, route);
  } finally {
    route.end();
  }
}

/** Only a registrar sends an entry of the catalogue; all else is about the way there. */
function failureOf(reason: unknown, url: string, route: Route): ZlError {
  const isAnswer = reason instanceof ConnectError && reason.details.length > 0;
  if (isAnswer || !(reason instanceof ConnectError)) return fromConnectError(reason);
  const { code, rawMessage, cause } = reason;
  const refusal = route.refusal(rawMessage);
  if (refusal !== undefined) return refusal;
  const fault = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const clock = /NOT_YET_VALID|HAS_EXPIRED/.test(fault)
    ? `; the clock of this machine shows ${new Date().toISOString()}`
    : '';
  const late = code === Code.DeadlineExceeded ? '; if it was only slow, the code is used up' : '';
  const message = `${url}: ${rawMessage}${clock}${late}`;
  return new ZlError('registrar.unreachable', message, { cause: reason });
}
