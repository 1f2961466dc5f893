import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';

const folder = join(import.meta.dirname, '../../../../contracts/config');

test('[OPS-02] every configuration schema is a valid JSON schema', () => {
  const ajv = new Ajv2020();
  const files = readdirSync(folder);
  assert.ok(files.length >= 4);
  for (const file of files) {
    const schema = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    assert.equal(ajv.validateSchema(schema), true, `${file}: ${ajv.errorsText()}`);
  }
});
