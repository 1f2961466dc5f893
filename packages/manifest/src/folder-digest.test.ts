import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { eventually, tempDir } from '@zerolatency/testing';
import { fileDigest, folderDigest } from './folder-digest.ts';

function program(t: TestContext): string {
  const root = join(tempDir(t), 'program');
  mkdirSync(join(root, 'lib'), { recursive: true });
  writeFileSync(join(root, 'server.js'), "import './lib/read.js';");
  writeFileSync(join(root, 'lib', 'read.js'), 'read();');
  return root;
}

test('[BRG-02] the digest of a folder changes with any path, content or permission in it', async (t) => {
  const changes: ((root: string) => void)[] = [
    (root) => writeFileSync(join(root, 'lib', 'read.js'), 'evil();'),
    (root) => writeFileSync(join(root, 'lib', 'more.js'), ''),
    (root) => rmSync(join(root, 'server.js')),
    (root) => renameSync(join(root, 'lib', 'read.js'), join(root, 'read.js')),
    (root) => chmodSync(join(root, 'server.js'), 0o755),
  ];
  const digests = new Set([await folderDigest(program(t))]);
  for (const change of changes) {
    const root = program(t);
    change(root);
    digests.add(await folderDigest(root));
  }
  assert.equal(digests.size, changes.length + 1);
});

test('a copy of a folder has the same digest, wherever it lies', async (t) => {
  const root = program(t);
  const copy = join(tempDir(t), 'copy');
  cpSync(root, copy, { recursive: true });
  assert.equal(await folderDigest(copy), await folderDigest(root));
});

test('[BRG-02] a folder with a link in it is refused', async (t) => {
  const root = program(t);
  symlinkSync('/etc/hostname', join(root, 'lib', 'link.js'));
  await assert.rejects(
    folderDigest(root),
    (error) => error instanceof ZlError && /"lib\/link.js" is a link/.test(error.message),
  );
});

test('[BRG-02] a FIFO in place of a pinned file is refused without waiting for a writer', async (t) => {
  const path = join(tempDir(t), 'server');
  execFileSync('mkfifo', [path]);
  await assert.rejects(fileDigest(path), { id: 'manifest.invalid' });
});

test('[BRG-02] a file that becomes a FIFO after the folder was listed is refused', async (t) => {
  const root = program(t);
  const first = join(root, 'a');
  writeFileSync(first, '');
  truncateSync(first, 2 ** 29);
  const digest = folderDigest(root);
  const refused = assert.rejects(digest, { id: 'manifest.invalid' });
  // The first file is read, so the folder is listed.
  await eventually(() => openPaths().includes(first));
  rmSync(join(root, 'server.js'));
  execFileSync('mkfifo', [join(root, 'server.js')]);
  await refused;
});

test('[BRG-02] a file that grows while it is read counts with what was read', async (t) => {
  const root = program(t);
  const first = join(root, 'a');
  writeFileSync(first, '');
  truncateSync(first, 2 ** 28);
  const refused = assert.rejects(folderDigest(root, 2 ** 28 + 1024), /more than 268436480 bytes/);
  await eventually(() => openPaths().includes(first));
  truncateSync(first, 2 ** 29);
  await refused;
});

function openPaths(): string[] {
  return readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // Closed meanwhile.
      return '';
    }
  });
}
