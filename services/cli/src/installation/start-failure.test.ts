import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFailure } from './start-failure.ts';

const failed = {
  level: 'error',
  error_id: 'ledger.corrupt',
  help: 'x',
  msg: 'start failed: line 3',
};

test('[CLI-02] the first error that a program states is the one that is shown', () => {
  const log = [{ level: 'info', msg: 'hello' }, failed, { ...failed, error_id: 'internal' }];
  const error = startFailure('model-host', log.map((line) => JSON.stringify(line)).join('\n'));
  assert.deepEqual([error.id, error.message], ['ledger.corrupt', 'model-host: line 3']);
});

test('[CLI-02] an error printed before the log is open keeps all of its lines and not its help', () => {
  const said = [
    'config.invalid: host.yaml:1: a is missing',
    'host.yaml:7: b is not a setting.',
    'Correct the setting that the message names.',
    'not ours: more',
  ];
  const { id, message } = startFailure('model-host', said.join('\n'));
  assert.equal(id, 'config.invalid');
  assert.equal(message, 'model-host: host.yaml:1: a is missing\nhost.yaml:7: b is not a setting.');
});

test('[CLI-02] a program that states nothing is quoted, and is not called a defect of ours', () => {
  const quoted = startFailure('model-host', 'sh: killed\n');
  assert.equal(quoted.id, 'installation.failed');
  assert.match(
    quoted.message,
    /^model-host exited during its start; its last line was: sh: killed$/,
  );
  assert.match(
    startFailure('model-host', '').message,
    /^model-host exited during its start without a word$/,
  );
});
