import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { test } from 'node:test';
import { connectMcp } from '@zerolatency/mcp';
import { tempDir } from '@zerolatency/testing';

test('a limit on results that is not a number of bytes limits nothing', async (t) => {
  const root = tempDir(t);
  writeFileSync(join(root, 'hello.txt'), 'hello');
  const args = [join(import.meta.dirname, 'fs-server.ts'), '--root', root];
  const server = await connectMcp({
    transport: { kind: 'stdio', command: execPath, args, env: {} },
    client: { name: 'test', version: '0' },
  });
  t.after(() => server.close());
  for (const maxBytes of [-1, 0, 0.5, 'many']) {
    const result = await server.request(
      'tools/call',
      { name: 'read', arguments: { path: 'hello.txt' } },
      { timeoutMs: 20_000, meta: { 'zerolatency/maxBytes': maxBytes } },
    );
    assert.deepEqual(
      'content' in result && result.content,
      [{ type: 'text', text: 'hello' }],
      `${maxBytes}`,
    );
  }
});
