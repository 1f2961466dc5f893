import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CATALOGUE } from '@zerolatency/errors';
import { TurnLimitsSchema } from '@zerolatency/proto/agent';
import bridge from '../../../contracts/config/device-bridge.schema.json' with { type: 'json' };
import host from '../../../contracts/config/model-host.schema.json' with { type: 'json' };
import relay from '../../../contracts/config/tool-relay.schema.json' with { type: 'json' };
import bundle from '../../../contracts/policy/bundle.schema.json' with { type: 'json' };
import manifest from '../../../contracts/policy/manifest.schema.json' with { type: 'json' };
import { fakeTerminal } from './fake-terminal.ts';
import { runZl } from './installed.ts';

const helps = Object.entries(CATALOGUE).map(([id, { help }]) => ({ id, help }));

test('[CLI-02] every command that a help text names exists', async () => {
  for (const { id, help } of helps) {
    for (const [, words = ''] of help.matchAll(/"zl ([a-z -]+)"/g)) {
      const { status, stdout } = await runZl(fakeTerminal(), [...words.split(' '), '--help']);
      assert.equal(status, 0, `${id}: zl ${words}`);
      assert.match(stdout, new RegExp(`^Usage: zl ${words}`), id);
    }
  }
});

/** Schemas name the settings; a turn's limits are fields of StartTurn. */
const NAMES = new Set(
  [bridge, host, relay, bundle, manifest].flatMap((schema) =>
    [...JSON.stringify(schema).matchAll(/"(\w+)":\{/g)].map(([, name]) => name),
  ),
);
const TURN_LIMITS = ['limits.timeout', ...TurnLimitsSchema.fields.map(({ name }) => name)];

test('[CLI-02] every setting that a help text names exists', () => {
  for (const { id, help } of helps) {
    for (const [setting] of help.matchAll(/\b[a-z]+\.[a-z][A-Za-z]+\b|\b[a-z]+_[a-z_]+\b/g)) {
      if (TURN_LIMITS.includes(setting)) continue;
      for (const name of setting.split('.')) assert.ok(NAMES.has(name), `${id}: ${setting}`);
    }
  }
});
