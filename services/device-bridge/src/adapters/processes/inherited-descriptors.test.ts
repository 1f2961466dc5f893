import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { platform } from 'node:os';
import { test } from 'node:test';

const options = { skip: platform() === 'linux' ? false : 'reads /proc' };

/** The descriptors above stdio of a child of a child, as a server is the child of its bridge. */
function inheritedBy(code: string, descriptor: number): string[] {
  const list = 'for fd in /proc/self/fd/*; do readlink "$fd"; done';
  const script = `${code};
    const { spawnSync } = await import('node:child_process');
    const { stdout } = spawnSync('/bin/sh', ['-c', ${JSON.stringify(list)}], { encoding: 'utf8' });
    console.log(stdout);`;
  // Node looks for inherited ones only up to the first gap above 15.
  const gap = Array.from({ length: 40 }, () => 'ignore' as const);
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe', ...gap, descriptor],
    encoding: 'utf8',
  });
  assert.equal(stderr.replaceAll(/^.*Warning.*$|^\(Use .*$/gm, '').trim(), '');
  return stdout.split('\n').filter((line) => line === import.meta.filename);
}

test('[BRG-02] servers inherit nothing that was open when the bridge was started', options, (t) => {
  const descriptor = openSync(import.meta.filename, 'r');
  t.after(() => closeSync(descriptor));
  assert.equal(inheritedBy('', descriptor).length, 1);
  const close = `(await import(${JSON.stringify(import.meta.resolve('./inherited-descriptors.ts'))})).closeInheritedDescriptors`;
  assert.equal(inheritedBy(`${close}({})`, descriptor).length, 0);
  // OpenSSL reads it while the bridge starts, and closing it would break that.
  const certificates = JSON.stringify({ NODE_EXTRA_CA_CERTS: import.meta.filename });
  assert.equal(inheritedBy(`${close}(${certificates})`, descriptor).length, 1);
});
