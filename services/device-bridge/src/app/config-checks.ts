import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { SERVER_MANIFEST } from '@zerolatency/manifest';
import { POLICY_BUNDLE } from '@zerolatency/policy';
import { type ConfigChecks, expectWritable } from '@zerolatency/service/lifecycle';
import { parseCertificates } from '@zerolatency/service/tls';
import {
  type DocumentHead,
  DocumentHolder,
  type DocumentKind,
  memoryFloor,
  watchDocument,
} from '@zerolatency/signing';
import { readHostKeys } from '../adapters/checkpoints/checkpoint-folder.ts';
import { readCredential, readDeviceKey } from '../adapters/credential/read-credential.ts';
import { Proxies } from '../adapters/proxy/proxies.ts';
import type { BridgeConfig } from '../config.ts';

const log = { info() {}, warn() {} };

export function checksOfBridge({
  relay,
  device,
  policy,
  servers,
  stateDir,
  witness,
}: BridgeConfig): ConfigChecks {
  return {
    stateDir: () => expectWritable(stateDir),
    'relay.caFile': async () => {
      if (parseCertificates(await readFile(relay.caFile, 'utf8')).length > 0) return;
      throw new ZlError('config.invalid', `${relay.caFile} holds no PEM certificate`);
    },
    ...(relay.proxy?.credentialsFile !== undefined && {
      'relay.proxy.credentialsFile': async () =>
        new Proxies(relay.proxy, {}).for(relay.urls[0] ?? '')?.authorization(),
    }),
    'device.credentialFile': () => readCredential(device.credentialFile),
    'device.keyFile': () => readDeviceKey(device.keyFile),
    'policy.bundleFile': () => expectDocument(POLICY_BUNDLE, policy.bundleFile, policy.keysDir),
    'servers.manifestFile': () =>
      expectDocument(SERVER_MANIFEST, servers.manifestFile, servers.keysDir),
    ...(witness && { 'witness.hostKeysDir': () => readHostKeys(witness.hostKeysDir) }),
  };
}

async function expectDocument<T extends DocumentHead>(
  kind: DocumentKind<T>,
  file: string,
  keysDir: string,
): Promise<void> {
  const holder = new DocumentHolder(kind, { floor: memoryFloor() });
  const watch = await watchDocument({ holder, file, keysDir, log });
  watch.close();
  const refusal = watch.refusal();
  if (refusal !== undefined) throw refusal;
}
