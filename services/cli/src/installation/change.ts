import { ZlError } from '@zerolatency/errors';
import { type Manifest, SERVER_MANIFEST } from '@zerolatency/manifest';
import { type Bundle, POLICY_BUNDLE } from '@zerolatency/policy';
import type { DocumentHead, DocumentKind, SignedDocument } from '@zerolatency/signing';
import type { Layout } from './layout.ts';
import { installBundle, installManifest } from './policy.ts';
import { ownDocument } from './renew.ts';

export function ownBundle({ policy }: Layout): Promise<SignedDocument<Bundle>> {
  return ownOrRefuse(POLICY_BUNDLE, policy.bundle, policy.key);
}

/** Signs changed content as the next version. Host and bridge notice the new file. */
export async function changeBundle(
  layout: Layout,
  change: (bundle: Bundle) => Bundle,
): Promise<Bundle> {
  const { content, digest: previousDigest } = await ownBundle(layout);
  const next = { ...change(content), ...nextVersion(content), previousDigest };
  await installBundle(layout, next);
  return next;
}

/** The same for the manifest; only the bridge reads it. */
export async function changeManifest(
  layout: Layout,
  change: (manifest: Manifest) => Manifest,
): Promise<Manifest> {
  const { device, manifestKey } = layout;
  const { content } = await ownOrRefuse(SERVER_MANIFEST, device.manifest, manifestKey);
  const next = { ...change(content), ...nextVersion(content) };
  await installManifest(layout, next);
  return next;
}

function nextVersion({ version }: DocumentHead) {
  return { version: version + 1, issuedAt: new Date().toISOString() };
}

async function ownOrRefuse<T extends DocumentHead>(
  kind: DocumentKind<T>,
  path: string,
  keyFile: string,
): Promise<SignedDocument<T>> {
  const own = await ownDocument(kind, path, keyFile);
  if (own !== undefined) return own;
  throw new ZlError(
    kind.errorId,
    `${path} was not signed with ${keyFile}; change it where it is signed`,
  );
}
