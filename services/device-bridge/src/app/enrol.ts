import { createPrivateKey, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ZlError } from '@zerolatency/errors';
import { enrolledFault, parseEnrolmentCode, readDeviceCredential } from '@zerolatency/identity';
import type { EnrolResponse } from '@zerolatency/proto/enrolment';
import { makeFolder, readIfThere, writeAtomically } from '@zerolatency/service/files';
import { parseCertificates } from '@zerolatency/service/tls';
import { generateKeyPair, verifierFromPem } from '@zerolatency/signing';
import { readDeviceKey } from '../adapters/credential/read-credential.ts';
import { Proxies, type ProxySettings } from '../adapters/proxy/proxies.ts';
import { askRegistrar } from '../adapters/registrar/ask-registrar.ts';
import { type BridgeConfig, readBridgeConfig } from '../config.ts';

const USAGE = `usage: device-bridge enrol <code> --registrar <https://host:port> --ca <file>
    [--state <folder>] [--device <name>] [--key ed25519|p256] [--force]
    [--proxy <url> [--proxy-credentials <file>]] [--config <file>]

Makes a key in the folder (default: zl-device), enrols the device by the one-time code, and
writes its credential and a configuration. --force enrols a device again, with the key that
it has. --proxy goes through an HTTP proxy; the file holds user:password. --config enrols for a configuration that is there: only the key, where there is
none, and the credential are written, to the files that it names.`;

const ALGORITHMS = { ed25519: 'Ed25519', p256: 'ES256' } as const;

interface Asked {
  readonly code: string;
  readonly url: string;
  readonly ca: string;
  readonly deviceId: string;
  readonly algorithm: 'Ed25519' | 'ES256';
  readonly force: boolean;
  readonly place: Place;
  readonly proxy: ProxySettings | undefined;
}

/** Where key and credential lie. */
interface Place {
  readonly keyFile: string;
  readonly credentialFile: string;
  /** Absent where the configuration is there already. */
  readonly folder?: string;
}

/** Runs `device-bridge enrol`. Returns the exit code. */
export async function enrol(
  args: readonly string[],
  output: { write(text: string): unknown },
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  if (args.includes('--help')) {
    output.write(`${USAGE}\n`);
    return 0;
  }
  const asked = await read(args);
  const { place, force } = asked;
  const proxy = new Proxies(asked.proxy, env).for(asked.url);
  // Before the code is used up.
  if (!force && existsSync(place.credentialFile)) {
    throw new ZlError('enrolment.exists', `${place.credentialFile} is there already`);
  }
  const key = await openKey(asked);
  const enrolled = await askRegistrar({
    ...{ ...asked, key, proxy },
    platform: `${platform()} ${arch()}`,
  });
  const { credential, tenant, deviceId } = enrolled;
  const earlier = await readIfThere(place.credentialFile);
  const fault = enrolledFault(credential, { device: { tenant, deviceId }, key, earlier });
  if (fault !== undefined) {
    const why = `the registrar sent a credential that cannot be used: ${fault}`;
    throw new ZlError('device.credential_invalid', why);
  }
  const config = place.folder === undefined ? undefined : await writeFiles(asked, enrolled);
  // The last file: with it the device is enrolled.
  await writeAtomically(place.credentialFile, credential);
  const { expiresAtMs } = readDeviceCredential(credential).value ?? {};
  const until = expiresAtMs === undefined ? 'revoked' : new Date(expiresAtMs).toISOString();
  output.write(`Enrolled as ${deviceId} of ${tenant}; credential until ${until}.\n`);
  if (config !== undefined) output.write(`Start it with: device-bridge --config ${config}\n`);
  return 0;
}

async function read(args: readonly string[]): Promise<Asked> {
  const { values, positionals } = parse(args);
  const { registrar = '', ca: caFile = '', device = '', key = 'ed25519', force = false } = values;
  const [typed, ...more] = positionals;
  if (typed === undefined || more.length > 0) throw misused('give one code');
  const { value: code, error } = parseEnrolmentCode(typed);
  if (error !== undefined) throw new ZlError('enrolment.refused', error);
  if (!URL.canParse(registrar) || new URL(registrar).protocol !== 'https:') {
    throw misused('--registrar must be an https:// address');
  }
  if (key !== 'ed25519' && key !== 'p256') throw misused('--key must be ed25519 or p256');
  const ca = await readFile(caFile, 'utf8').catch((cause: unknown) => {
    throw new ZlError('config.invalid', `--ca: "${caFile}" cannot be read`, { cause });
  });
  if (parseCertificates(ca).length === 0) {
    throw new ZlError('config.invalid', `--ca: ${caFile} holds no PEM certificate`);
  }
  const { origin: url } = new URL(registrar);
  const { place, relay } = await placeOf(values.config, resolve(values.state ?? 'zl-device'));
  const proxy = proxyIn(values) ?? relay?.proxy;
  return { code, url, ca, deviceId: device, algorithm: ALGORITHMS[key], force, place, proxy };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const options = {
    ...{ registrar: text, ca: text, state: text, device: text, key: text, config: text },
    ...{ proxy: text, 'proxy-credentials': text },
  };
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...options, force: { type: 'boolean' } },
    });
  } catch (cause) {
    throw misused(cause instanceof Error ? cause.message : String(cause));
  }
}

function misused(why: string): ZlError {
  return new ZlError('config.invalid', `${why}\n${USAGE}`);
}

async function placeOf(
  config: string | undefined,
  folder: string,
): Promise<{ readonly place: Place; readonly relay?: BridgeConfig['relay'] }> {
  if (config === undefined) {
    const at = (name: string) => join(folder, name);
    const files = { keyFile: at('device-key.pem'), credentialFile: at('credential.jws') };
    return { place: { folder, ...files } };
  }
  const text = await readFile(config, 'utf8').catch((cause: unknown) => {
    throw new ZlError('config.invalid', `--config: ${config} cannot be read`, { cause });
  });
  const { device, relay } = readBridgeConfig({ file: { path: config, text }, env: {}, flags: {} });
  return { place: device, relay };
}

function proxyIn(values: ReturnType<typeof parse>['values']): ProxySettings | undefined {
  const { proxy: url, 'proxy-credentials': file } = values;
  if (url === undefined) return undefined;
  return { url, ...(file !== undefined && { credentialsFile: resolve(file) }) };
}

/** The key never leaves the device, and receipts of earlier calls name it: one that is there stays. */
async function openKey({ place, algorithm }: Asked): Promise<KeyObject> {
  const { keyFile } = place;
  if (existsSync(keyFile)) return (await readDeviceKey(keyFile)).key;
  await makeFolder(dirname(keyFile));
  const { privatePem } = generateKeyPair(algorithm);
  await writeAtomically(keyFile, privatePem);
  return createPrivateKey(privatePem);
}

const FILES = {
  relayCa: 'relay-ca.pem',
  policy: { file: join('policy', 'bundle.dsse.json'), keys: join('policy', 'keys') },
  manifest: { file: join('servers', 'manifest.dsse.json'), keys: join('servers', 'keys') },
};

/** Returns the path of the configuration. */
async function writeFiles({ place, proxy }: Asked, enrolled: EnrolResponse) {
  const { folder = '', keyFile, credentialFile } = place;
  const at = (path: string) => join(folder, path);
  // All are read before one is written: a device that is enrolled again may be running.
  const documents = (['policy', 'manifest'] as const).map((name) => {
    const { envelope = '', publicKeysPem = [] } = enrolled[name] ?? {};
    const keys = new Map(publicKeysPem.map((pem) => [`${verifierFromPem(pem).keyid}.pem`, pem]));
    return { file: at(FILES[name].file), keysDir: at(FILES[name].keys), envelope, keys };
  });
  await writeAtomically(at(FILES.relayCa), enrolled.relayCaPem);
  for (const { file, keysDir, envelope, keys } of documents) {
    await makeFolder(keysDir);
    for (const [name, pem] of keys) await writeAtomically(join(keysDir, name), pem);
    await writeAtomically(file, envelope);
    // An earlier authority signs nothing here any more.
    for (const name of await readdir(keysDir)) {
      if (!keys.has(name)) await rm(join(keysDir, name), { recursive: true });
    }
  }
  const { relayCa, policy, manifest } = FILES;
  const settings = {
    stateDir: at('state'),
    relay: { urls: enrolled.relayUrls, caFile: at(relayCa), ...(proxy && { proxy }) },
    device: { credentialFile, keyFile },
    policy: { bundleFile: at(policy.file), keysDir: at(policy.keys) },
    servers: { manifestFile: at(manifest.file), keysDir: at(manifest.keys) },
  };
  // JSON is YAML too.
  await writeAtomically(at('bridge.yaml'), `${JSON.stringify(settings, null, 2)}\n`);
  return at('bridge.yaml');
}
