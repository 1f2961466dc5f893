import { existsSync } from 'node:fs';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import { readSettings } from '../settings.ts';
import { addCertificate } from './certificates.ts';
import { writeRegistrar, writeSettings } from './configuration.ts';
import type { Layout } from './layout.ts';

/** An installation of release 0.1 gets a registrar, and only that keeps the issuing key. */
export async function addRegistrar(layout: Layout): Promise<void> {
  const settings = await readSettings(layout.settings);
  if (settings.registrar !== undefined) return;
  const { issuerKey, earlierIssuerKey } = layout.registrar;
  await mkdir(dirname(issuerKey), { recursive: true, mode: 0o700 });
  if (existsSync(earlierIssuerKey)) await rename(earlierIssuerKey, issuerKey);
  await addCertificate(layout, 'registrar');
  const { relay } = parse(await readFile(layout.device.config, 'utf8'));
  const registrar = await writeRegistrar(layout, { relayUrls: relay.urls });
  await writeSettings(layout, { ...settings, registrar });
}
