import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { POLICY_BUNDLE } from '@zerolatency/policy';
import {
  type DocumentHead,
  type DocumentKind,
  openDocument,
  type SignedDocument,
} from '@zerolatency/signing';
import { isPastHalf, renewCertificates } from './certificates.ts';
import type { Layout } from './layout.ts';
import { installBundle } from './policy.ts';
import { readOwn } from './read-own.ts';

/** Signs anew what has lived half its life; the registrar renews credentials. Running services pick it up. */
export async function renewExpiring(
  layout: Layout,
  { nowMs = Date.now() }: { readonly nowMs?: number } = {},
): Promise<void> {
  await renewBundle(layout, nowMs);
  await renewCertificates(layout, nowMs);
}

/** The rules stay as they are, whoever of this installation wrote them. */
async function renewBundle(layout: Layout, nowMs: number): Promise<void> {
  const own = await ownDocument(POLICY_BUNDLE, layout.policy.bundle, layout.policy.key);
  if (own === undefined) return;
  const { content: bundle, digest: previousDigest } = own;
  const life = { fromMs: Date.parse(bundle.issuedAt), untilMs: Date.parse(bundle.expiresAt) };
  if (!isPastHalf(life, nowMs)) return;
  await installBundle(layout, {
    ...bundle,
    version: bundle.version + 1,
    previousDigest,
    issuedAt: new Date(nowMs).toISOString(),
    expiresAt: new Date(nowMs + life.untilMs - life.fromMs).toISOString(),
  });
}

/** The document in an envelope that was signed here. Others renew what they signed. */
export async function ownDocument<T extends DocumentHead>(
  kind: DocumentKind<T>,
  path: string,
  keyFile: string,
): Promise<SignedDocument<T> | undefined> {
  const publicPem = await readOwn(keyFile, 'private key', publicPemOf);
  const opened = openDocument(kind, await readFile(path, 'utf8'), [publicPem]);
  return 'error' in opened ? undefined : opened;
}

function publicPemOf(privatePem: string): string {
  return createPublicKey(privatePem).export({ type: 'spki', format: 'pem' }).toString();
}
