import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { platform } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { fileDigest } from '@zerolatency/manifest';
import { tempDir } from '@zerolatency/testing';
import { createInstallation } from '../../services/cli/src/installation/create.ts';
import { type Layout, layoutOf } from '../../services/cli/src/installation/layout.ts';
import { firstManifest, installManifest } from '../../services/cli/src/installation/policy.ts';
import { readSettings } from '../../services/cli/src/settings.ts';
import { commandLine, processesOf, stopWithTests } from './installed-processes.ts';
import { runZl } from './system.ts';

interface Mistake {
  /** What a person or their machine does to the installation. */
  readonly make: (layout: Layout, t: TestContext) => Promise<unknown>;
  /** The whole of stderr, with `HOME` for the folder of the installation. */
  readonly says: RegExp;
}

const CORRECT = '\n    Correct the setting that the message names\\.\n$';
const RESTORE = '\n    Restore the file or folder that the message names, .*\n$';

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'broken YAML': {
    make: ({ host }) => appendFile(host.config, 'log: [\n'),
    says: new RegExp(`^zl: config\\.invalid: model-host: HOME/host\\.yaml:\\d+: .*${CORRECT}`),
  },
  'an unknown setting': {
    make: ({ relay }) => appendFile(relay.config, 'soockets: {}\n'),
    says: new RegExp(
      `^zl: config\\.invalid: tool-relay: HOME/relay\\.yaml:\\d+: soockets is not a setting\\. Did you mean "sockets"\\?${CORRECT}`,
    ),
  },
  'a taken port whose owner never answers': {
    make: async (layout, t) => {
      const { host } = await readSettings(layout.settings);
      const { port } = new URL(host.adminUrl);
      const server = createServer().listen(Number(port), '127.0.0.1');
      t.after(() => server.close());
      await once(server, 'listening');
    },
    says: /^zl: port\.unusable: model-host: port \d+ of 127\.0\.0\.1 is taken by another program\n {4}Set another port .*\n$/,
  },
  'a certificate that is missing': {
    make: (layout) => rm(layout.tls('model-host').cert),
    says: new RegExp(`^zl: file\\.unusable: HOME/tls/model-host\\.pem does not exist${RESTORE}`),
  },
  'a certificate that is none': {
    make: (layout) => writeFile(layout.tls('tool-relay').cert, 'none'),
    says: new RegExp(
      `^zl: file\\.unusable: HOME/tls/tool-relay\\.pem holds no certificate .*${RESTORE}`,
    ),
  },
  'a key set that is missing': {
    make: ({ tokens }) => rm(tokens.jwks),
    says: /^zl: config\.invalid: model-host: identity\.jwksFile: HOME\/identity\/token-keys\.json cannot be read\n/,
  },
  'a credential that is none': {
    make: ({ device }) => writeFile(device.credential, 'none'),
    says: new RegExp(
      `^zl: file\\.unusable: HOME/device/credential\\.jws holds no credential .*${RESTORE}`,
    ),
  },
  'a file where a folder should be': {
    make: ({ logs }) => writeFile(logs, ''),
    says: new RegExp(`^zl: file\\.unusable: HOME/log is in the way${RESTORE}`),
  },
  'a file where the state of the bridge should be': {
    make: async ({ device }) => {
      await rm(device.state, { recursive: true });
      await writeFile(device.state, '');
    },
    says: new RegExp(
      `^zl: file\\.unusable: device-bridge: HOME/device/state is in the way${RESTORE}`,
    ),
  },
  'a bundle that is not signed': {
    make: ({ policy }) => writeFile(policy.bundle, '{}'),
    says: /^zl: policy\.invalid: device-bridge: policy is none: policy bundle refused: .*\n {4}.*\n$/,
  },
  'a manifest that is not signed': {
    make: ({ device }) => writeFile(device.manifest, '{}'),
    says: /^zl: manifest\.invalid: device-bridge: manifest is none: server manifest refused: .*\n {4}.*\n$/,
  },
  'a corrupt ledger': {
    make: async (layout) => {
      await runZl(layout, ['up']);
      await runZl(layout, ['down']);
      const segment = join(layout.host.ledger, 'segment-0000000000000000.jsonl');
      await writeFile(segment, (await readFile(segment, 'utf8')).replace('\n{', '\nX'));
    },
    says: /^zl: ledger\.corrupt: model-host: ledger is down: .*segment-0000000000000000\.jsonl line 2 .*\n {4}.*\n$/,
  },
};

const base = tempDir({ after });
stopWithTests(base);
let installations = 0;
const newLayout = () => layoutOf(join(base, `${++installations}`, '.zl'));

const options = { timeout: 300_000, skip: platform() === 'linux' ? false : 'reads /proc' };

for (const [name, { make, says }] of Object.entries(MISTAKES)) {
  test(`[CLI-02] zl up names ${name} and one action`, options, async (t) => {
    const layout = newLayout();
    await createInstallation(layout);
    await make(layout, t);
    const { status, stderr } = await runZl(layout, ['up']);
    await runZl(layout, ['down']);
    assert.match(stderr.replaceAll(layout.home, 'HOME'), says);
    assert.equal(status, 1);
    assert.deepEqual(processesOf(layout.home).map(commandLine), []);
  });
}

test(
  '[CLI-02] a tool server that fails is a warning of zl up, and zl status shows its stderr',
  options,
  async (t) => {
    const layout = newLayout();
    await createInstallation(layout);
    const dir = tempDir(t);
    const server = join(dir, 'server.sh');
    await writeFile(
      server,
      '#!/bin/sh\nfor i in 1 2 3 4 5 6 7; do echo "reason $i" >&2; done\nexit 3\n',
      {
        mode: 0o755,
      },
    );
    const first = firstManifest(layout);
    await installManifest(layout, {
      ...first,
      version: 2,
      servers: [
        ...first.servers,
        {
          ...{ name: 'broken', command: server, args: [], cwd: dir, sandbox: 'none' },
          ...{ sha256: await fileDigest(server), env: { allow: [], set: {} }, unpinned: true },
        },
      ],
    });
    const { status, stdout, stderr } = await runZl(layout, ['up']);
    const shown = await runZl(layout, ['status']);
    await runZl(layout, ['down']);
    assert.match(stderr, /^warning: device-bridge: broken is (failed|starting): .*$/m);
    assert.match(stdout, /Receipt verified/);
    assert.equal(status, 0);
    assert.match(
      shown.stdout,
      /broken is (failed|starting): .*\n( {11}\| .*\n){0,4} {11}\| reason 7\n/,
    );
    assert.equal(shown.status, 1);
  },
);
