import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readVerifiedReceipt } from '../../services/cli/src/audit/verify-receipt.ts';
import { needsPython, verifyOutside } from '../outside/second-verifier.ts';
import { addEffectsServer, traceOf } from './effects.ts';
import { runTurn, startSystem } from './system.ts';

test('one turn through all three services', async (t) => {
  const system = await startSystem(t, { prepare: addEffectsServer });
  const { layout } = system;

  await t.test('[HOST-01] [BRG-03] [RLY-04] a chat reads a file on the device', async () => {
    const turn = await runTurn(await system.chat(), 'read welcome.txt');
    assert.equal(turn.ending, 'done');
    assert.deepEqual(
      turn.calls.map(({ outcome }) => outcome),
      ['DONE'],
    );
    assert.match(turn.text, /Welcome to Zero Latency/);
    const covered = turn.events.map((event) => [event.firstSequence, event.sequence + 1n]);
    assert.deepEqual(
      covered.map(([first]) => first),
      [1n, ...covered.slice(0, -1).map(([, next]) => next)],
    );
  });

  await t.test('[TOOL-04] its receipt verifies with public keys only', async () => {
    const turn = await runTurn(await system.chat(), 'read welcome.txt');
    const { receipt } = await readVerifiedReceipt(
      turn.calls[0]?.receiptJson ?? '',
      layout.receiptKeys,
    );
    assert.equal(receipt.tool, 'fs.read');
    assert.equal(receipt.outcome, 'done');
    assert.equal(receipt.policyId, 'local@2');
  });

  await t.test(
    '[TOOL-02] invalid arguments are refused by name and never reach the device',
    async () => {
      const turn = await runTurn(await system.chat(), 'misread');
      assert.equal(turn.calls[0]?.errorId, 'tool.arguments_invalid');
      assert.match(turn.text, /path/);
    },
  );

  await t.test('[BRG-03] a path outside the roots is refused by the device', async () => {
    await writeFile(join(layout.home, 'secret.txt'), 'not for anyone');
    const turn = await runTurn(await system.chat(), 'read ../../secret.txt');
    assert.equal(turn.calls[0]?.errorId, 'fs.outside_roots');
    assert.doesNotMatch(JSON.stringify(turn.calls), /not for anyone/);
  });

  await t.test('[RED-01] a secret in a file reaches neither the model nor the client', async () => {
    const token = `ghp_${'a1B2'.repeat(9)}`;
    await writeFile(join(layout.device.files, 'notes.txt'), `the token is ${token}, keep it`);
    const turn = await runTurn(await system.chat(), 'read notes.txt');
    assert.equal(turn.ending, 'done');
    assert.match(turn.text, /keep it/);
    for (const text of [turn.text, JSON.stringify(turn.calls), await system.log('model-host')]) {
      assert.ok(!text.includes(token));
    }
  });

  await t.test(
    '[HOST-02] two calls that wait for each other both finish, and their events keep the order of the requests',
    async () => {
      // Neither call ends before both have begun, so sequential calls would time out.
      const turn = await runTurn(await system.chat(), 'act twice pair met 10');
      assert.deepEqual(
        turn.calls.map(({ outcome }) => outcome),
        ['DONE', 'DONE'],
      );
      const keys = new Map<string, string>();
      const order = turn.events.flatMap(({ event }) => {
        if (event.case === 'toolCallStarted') {
          keys.set(event.value.callId, JSON.parse(event.value.argumentsJson).key);
          return [`started ${keys.get(event.value.callId)}`];
        }
        return event.case === 'toolCallDone' ? [`done ${keys.get(event.value.callId)}`] : [];
      });
      assert.deepEqual(order, ['started pair1', 'started pair2', 'done pair1', 'done pair2']);
    },
  );

  await t.test('[HOST-05] a cancel stops the work on the device', async () => {
    const session = await system.chat();
    const turn = await runTurn(session, 'act halted 15000 10', ({ event }) => {
      if (event.case === 'toolCallStarted') {
        const cancelOnceBegun = () =>
          traceOf(layout, 'halted').length > 0
            ? session.cancel()
            : void setTimeout(cancelOnceBegun, 10);
        cancelOnceBegun();
      }
    });
    assert.equal(turn.ending, 'turn.cancelled');
    assert.deepEqual(
      turn.calls.map(({ outcome }) => outcome),
      ['CANCELLED'],
    );
    assert.deepEqual(traceOf(layout, 'halted'), ['began', 'stopped']);
  });

  await t.test('[RLY-01] a result of several frames arrives whole', async () => {
    const turn = await runTurn(await system.chat(), 'act large 0 600000');
    assert.equal(turn.ending, 'done');
    assert.equal(JSON.parse(turn.calls[0]?.resultJson ?? '{}').content[0].text.length, 600_000);
  });

  await t.test('[AUD-01] the ledger verifies offline, with a receipt for every call', async () => {
    const { status, stdout } = await system.zl('audit', 'verify', '--json');
    const report = JSON.parse(stdout);
    assert.equal(status, 0, stdout);
    assert.equal(report.openIntents, 0);
    assert.ok(report.byKind['call.receipt'] >= 7);
  });

  await t.test('[AUD-04] a second verifier finds the ledger valid', needsPython(), () => {
    const [verdict] = verifyOutside([layout.host.ledger], layout.receiptKeys);
    assert.equal(verdict?.verdict, 'valid', JSON.stringify(verdict));
  });

  await t.test('[BRG-01] the device is listed with its tools', async () => {
    const { stdout } = await system.zl('devices', '--json');
    const [device] = JSON.parse(stdout).devices;
    assert.equal(device.deviceId, 'this-machine');
    assert.deepEqual(
      device.catalog.servers.map(({ name }: { name: string }) => name),
      ['fs', 'effects'],
    );
  });
});
