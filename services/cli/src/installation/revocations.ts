import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { REVOCATION_LIST, type RevocationList } from '@zerolatency/revocations';
import { makeFolder } from '@zerolatency/service/files';
import { generateKeyPair, signDocument, signerFromPem } from '@zerolatency/signing';
import { type Document, parseDocument } from 'yaml';
import { readSettings } from '../settings.ts';
import { addCertificate } from './certificates.ts';
import type { Layout } from './layout.ts';
import { writePrivate, writePublic } from './private-file.ts';
import { podsOf } from './processes.ts';

/** Lets the registrar revoke and renew, and relays and hosts follow its list, unless they do. */
export async function addRevocations(layout: Layout): Promise<void> {
  const { registrar, relay, host } = layout;
  const config = await readDocument(registrar.config);
  // What is no YAML the registrar itself names, with the place.
  if (config.errors.length > 0 || config.hasIn(['registrar', 'revocations'])) return;
  await createList(layout);
  // Releases before made it for a server only; the relay asks the registrar as a client.
  await addCertificate(layout, 'tool-relay');
  await addFollowed(layout, { config: host.config, at: ['relay'], followed: host.followed });
  for (const each of [relay, ...podsOf(layout).map(layout.pod)]) {
    await addFollowed(layout, { ...each, at: [] });
  }
  const kept = { file: registrar.revocations, keyFile: registrar.revocationKey };
  config.setIn(['registrar', 'revocations'], kept);
  // Written last, so that an interrupted addition starts over.
  await writePrivate(registrar.config, String(config));
}

/** The settings of a relay or host that follows, and the list from which it starts without the registrar. */
export async function followRevocations(layout: Layout, followed: Layout['relay']['followed']) {
  await makeFolder(dirname(followed.stateFile));
  await writePublic(followed.file, await readFile(layout.registrar.revocations, 'utf8'));
  const { registrar } = await readSettings(layout.settings);
  return { ...followed, keysDir: layout.revocationKeys, registrarUrl: registrar?.url };
}

async function addFollowed(
  layout: Layout,
  { config, at, followed }: Layout['relay'] & { readonly at: readonly string[] },
): Promise<void> {
  const document = await readDocument(config);
  document.setIn([...at, 'revocations'], await followRevocations(layout, followed));
  await writePrivate(config, String(document));
}

async function createList({ registrar, revocationKeys }: Layout): Promise<void> {
  const pair = generateKeyPair();
  const list: RevocationList = {
    schema: 'zerolatency.revocations/v1',
    id: 'registrar',
    version: 1,
    issuedAt: new Date().toISOString(),
    devices: [],
  };
  const signers = [signerFromPem(pair.privatePem)];
  await writePrivate(registrar.revocationKey, pair.privatePem);
  await writePublic(join(revocationKeys, `${pair.keyid}.pem`), pair.publicPem);
  await writePublic(registrar.revocations, await signDocument(REVOCATION_LIST, list, signers));
}

/** Keeps the comments of whoever edited it. */
async function readDocument(file: string): Promise<Document> {
  return parseDocument(await readFile(file, 'utf8'));
}
