import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  BUNDLE_PAYLOAD_TYPE,
  checkBundle,
  checkManifest,
  MANIFEST_PAYLOAD_TYPE,
} from '@zerolatency/policy';
import { signerFromPem, verifyEnvelope } from '@zerolatency/signing';
import { decodeJwt } from 'jose';
import { isPastHalf, renewCertificates } from './certificates.ts';
import { issueCredential } from './identity.ts';
import type { Layout } from './layout.ts';
import { currentFileServer, installBundle, installManifest } from './policy.ts';
import { writePrivate } from './private-file.ts';

export interface Renewed {
  /** Of a manifest that was signed anew, which a running bridge goes by a moment later. */
  readonly manifestId?: string;
}

/** Signs anew what has lived half its life, and what names another file now. Running services pick it up. */
export async function renewExpiring(
  layout: Layout,
  { nodePath, nowMs = Date.now() }: { readonly nodePath: string; readonly nowMs?: number },
): Promise<Renewed> {
  await renewBundle(layout, nowMs);
  const renewed = await renewManifest(layout, { nodePath, nowMs });
  await renewCredential(layout, nowMs);
  await renewCertificates(layout, nowMs);
  return renewed;
}

/** The rules stay as they are, whoever of this installation wrote them. */
async function renewBundle(layout: Layout, nowMs: number): Promise<void> {
  const checked = checkBundle(
    await ownPayload(layout.policy.bundle, {
      payloadType: BUNDLE_PAYLOAD_TYPE,
      keyFile: layout.policy.key,
    }),
  );
  if ('error' in checked) return;
  const { bundle } = checked;
  const life = { fromMs: Date.parse(bundle.issuedAt), untilMs: Date.parse(bundle.expiresAt) };
  if (!isPastHalf(life, nowMs)) return;
  await installBundle(layout, {
    ...bundle,
    version: bundle.version + 1,
    issuedAt: new Date(nowMs).toISOString(),
    expiresAt: new Date(nowMs + life.untilMs - life.fromMs).toISOString(),
  });
}

/** A newer Node or a moved project is another file for the same server; what else it lists stays. */
async function renewManifest(
  layout: Layout,
  { nodePath, nowMs }: { readonly nodePath: string; readonly nowMs: number },
): Promise<Renewed> {
  const checked = checkManifest(
    await ownPayload(layout.device.manifest, {
      payloadType: MANIFEST_PAYLOAD_TYPE,
      keyFile: layout.manifestKey,
    }),
  );
  if ('error' in checked) return {};
  const { manifest } = checked;
  const servers = await Promise.all(
    manifest.servers.map(async (server) => (await currentFileServer(server, nodePath)) ?? server),
  );
  if (isDeepStrictEqual(servers, manifest.servers)) return {};
  const version = manifest.version + 1;
  const issuedAt = new Date(nowMs).toISOString();
  await installManifest(layout, { ...manifest, version, issuedAt, servers });
  return { manifestId: `${manifest.id}@${version}` };
}

async function renewCredential(layout: Layout, nowMs: number): Promise<void> {
  const { iat = 0, exp = 0 } = decodeJwt(await readFile(layout.device.credential, 'utf8'));
  if (!isPastHalf({ fromMs: iat * 1000, untilMs: exp * 1000 }, nowMs)) return;
  const devicePublicPem = createPublicKey(await readFile(layout.device.key, 'utf8'))
    .export({ type: 'spki', format: 'pem' })
    .toString();
  const enrolmentKeyPem = await readFile(layout.enrolment.key, 'utf8');
  const credential = await issueCredential({ enrolmentKeyPem, devicePublicPem, nowMs });
  await writePrivate(layout.device.credential, credential);
}

/** What an envelope holds, if it was signed here; what others signed is theirs to renew. */
async function ownPayload(
  path: string,
  { payloadType, keyFile }: { readonly payloadType: string; readonly keyFile: string },
): Promise<unknown> {
  const keys = [signerFromPem(await readFile(keyFile, 'utf8')).verifier()];
  const envelope = await readFile(path, 'utf8');
  const { value } = verifyEnvelope(envelope, { payloadType, keys });
  return value && JSON.parse(Buffer.from(value.payload).toString('utf8'));
}
