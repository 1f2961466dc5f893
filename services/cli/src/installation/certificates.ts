import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  createAuthority,
  type IssuedPair,
  issueCertificate,
} from '@zerolatency/identity/authority';
import type { Layout } from './layout.ts';
import { writePrivate, writePublic } from './private-file.ts';
import { type Pod, podsOf } from './processes.ts';
import { readOwn } from './read-own.ts';

interface Holder {
  readonly name: string;
  /** That of its files, where several have one name. */
  readonly files?: string;
  readonly usage: 'server' | 'client' | 'both';
}

const HOLDERS: readonly Holder[] = [
  // A client of the other pods of its pool.
  { name: 'tool-relay', usage: 'both' },
  { name: 'registrar', usage: 'server' },
  { name: 'model-host', usage: 'both' },
  // For `zl devices` and its invitations.
  { name: 'operator', usage: 'client' },
];

/** Creates a certificate authority for this installation, and a certificate per party. */
export async function createCertificates(layout: Layout): Promise<void> {
  const authority = await createAuthority({ name: 'Zero Latency local authority' });
  await writePublic(layout.authority.cert, authority.cert);
  await writePrivate(layout.authority.key, authority.key);
  for (const holder of HOLDERS) await issueTo(layout, authority, holder);
}

/** For a party that an earlier release did not have. */
export async function addCertificate(layout: Layout, name: string): Promise<void> {
  const holder = HOLDERS.find((each) => each.name === name);
  if (holder !== undefined) await issueTo(layout, await authorityOf(layout), holder);
}

/** All pods have one name, and files of their own. */
export async function addPodCertificate(layout: Layout, pod: Pod): Promise<void> {
  await issueTo(layout, await authorityOf(layout), holderOf(pod));
}

function holderOf(pod: Pod): Holder {
  return { name: 'tool-relay', files: pod, usage: 'both' };
}

export async function renewCertificates(layout: Layout, nowMs: number): Promise<void> {
  for (const holder of [...HOLDERS, ...podsOf(layout).map(holderOf)]) {
    const { validFrom, validTo } = await readOwn(
      layout.tls(holder.files ?? holder.name).cert,
      'certificate',
      (pem) => new X509Certificate(pem),
    );
    const life = { fromMs: Date.parse(validFrom), untilMs: Date.parse(validTo) };
    if (!isPastHalf(life, nowMs)) continue;
    await issueTo(layout, await authorityOf(layout), holder);
  }
}

async function authorityOf({ authority: { cert, key } }: Layout): Promise<IssuedPair> {
  return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
}

async function issueTo(layout: Layout, authority: IssuedPair, holder: Holder): Promise<void> {
  const hosts = ['localhost', '127.0.0.1', '::1'];
  const pair = await issueCertificate(authority, { ...holder, hosts });
  const files = layout.tls(holder.files ?? holder.name);
  await writePrivate(files.key, pair.key);
  await writePublic(files.cert, pair.cert);
}

/** Credentials are renewed at half their life, so that none expires while the installation is used. */
export function isPastHalf(
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
  nowMs: number,
): boolean {
  return untilMs - nowMs < (untilMs - fromMs) / 2;
}
