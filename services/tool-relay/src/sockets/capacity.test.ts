import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedParts } from '../../test/parts.ts';
import { capacityOf } from './capacity.ts';

const MIB = 1024 * 1024;
const { config } = sharedParts();

test('[RLY-01] the descriptor limit bounds connections, and unproved ones get a quarter', () => {
  const availableBytes = 4096 * MIB;
  assert.deepEqual(capacityOf(config, { availableBytes, maxDescriptors: 20_000 }), {
    maxConnections: 19_744,
    maxUnproved: 2000,
  });
  assert.deepEqual(capacityOf(config, { availableBytes, maxDescriptors: 256 }), {
    maxConnections: 192,
    maxUnproved: 48,
  });
  const unlimited = { availableBytes, maxDescriptors: Number.POSITIVE_INFINITY };
  assert.equal(capacityOf(config, unlimited).maxUnproved, 2000);
});

test('[RLY-01] refuses to start where strangers could use up the memory, and names a value that fits', () => {
  const machine = { availableBytes: 256 * MIB, maxDescriptors: 20_000 };
  assert.throws(
    () => capacityOf(config, machine),
    /devices\.maxUnproved: 2000 .*256 MiB\); (\d+) fit/,
  );
  const fits = 1100;
  const smaller = { ...config, devices: { ...config.devices, maxUnproved: fits } };
  assert.equal(capacityOf(smaller, machine).maxUnproved, fits);
  const tiny = { ...machine, availableBytes: 16 * MIB };
  assert.throws(() => capacityOf(config, tiny), /devices\.maxCatalog/);
});
