import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { loadToolContracts } from './tool-contracts.ts';

const shipped = join(import.meta.dirname, '../../../contracts/tools');
let dir = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zl-contracts-'));
  cpSync(shipped, dir, { recursive: true });
});

afterEach(() => rmSync(dir, { recursive: true }));

test('[TOOL-01] every shipped contract loads, and fs.read is one of them', () => {
  const contracts = loadToolContracts(shipped);
  const contract = contracts.find('fs.read');
  assert.equal(contract?.manifest.effects, 'none');
  assert.equal(contracts.find('fs.read', 1), contract);
  assert.equal(contracts.find('fs.read', 2), undefined);
  assert.equal(contracts.find('fs.write'), undefined);
  assert.ok(contracts.all.length >= 1);
});

test('[TOOL-02] fs.read accepts a path and names the field of a wrong argument', () => {
  const { args, result } = loadToolContracts(shipped).find('fs.read')!;
  assert.ok(args.validate({ path: '/a', offset: 0, length: 1, encoding: 'auto' }).value);
  assert.equal(args.validate({ path: 7 }).error?.message, 'path must be string');
  assert.equal(args.validate({ path: 'a\0b' }).error?.field, '/path');
  assert.equal(args.validate({ path: 'a', offset: -1 }).error?.field, '/offset');
  assert.equal(args.validate({ path: 'a', mode: 'w' }).error?.message, 'mode is not a known field');
  const good = { path: '/a', size: 3, offset: 0, length: 3, content: 'abc', truncated: false };
  assert.ok(result.validate({ ...good, encoding: 'text' }).value);
  assert.equal(result.validate({ ...good, encoding: 'auto' }).error?.field, '/encoding');
});

test('find returns the newest major version', () => {
  cpSync(join(dir, 'fs.read/v1'), join(dir, 'fs.read/v10'), { recursive: true });
  edit('fs.read/v10/manifest.json', { version: '10.2.0' });
  const contracts = loadToolContracts(dir);
  assert.equal(contracts.find('fs.read')?.version, '10.2.0');
  assert.equal(contracts.find('fs.read', 1)?.version, '1.0.0');
});

test('an inconsistent contract is refused with the path of its file', () => {
  const cases: [() => void, RegExp][] = [
    [() => edit('fs.read/v1/manifest.json', { effects: 'some' }), /manifest.json: effects must be/],
    [() => edit('fs.read/v1/manifest.json', { name: 'fs.write' }), /names fs.write/],
    [() => edit('fs.read/v1/manifest.json', { version: '2.0.0' }), /is 2.0.0/],
    [
      () => edit('fs.read/v1/args.schema.json', { pattern: '(?=a)' }),
      /args.schema.json: .*looks ahead/,
    ],
    [() => rmSync(join(dir, 'fs.read/v1/result.schema.json')), /result.schema.json: is missing/],
    [
      () => cpSync(join(dir, 'fs.read/v1'), join(dir, 'fs.read/1'), { recursive: true }),
      /v<major>/,
    ],
  ];
  for (const [spoil, message] of cases) {
    rmSync(dir, { recursive: true });
    cpSync(shipped, dir, { recursive: true });
    spoil();
    assert.throws(() => loadToolContracts(dir), { id: 'config.invalid', message });
  }
  assert.throws(() => loadToolContracts(join(dir, 'none')), { id: 'config.invalid' });
});

function edit(file: string, change: object): void {
  const { manifest, argsSchema } = loadToolContracts(shipped).find('fs.read')!;
  const base = file.endsWith('manifest.json') ? manifest : argsSchema;
  writeFileSync(join(dir, file), JSON.stringify({ ...(base as object), ...change }));
}
