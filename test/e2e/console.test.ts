import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { ServerState } from '@zerolatency/proto/bridge';
import { ListDevicesResponseSchema } from '@zerolatency/proto/relay';
import { eventually } from '@zerolatency/testing';
import { startTestHost } from '../../services/model-host/test/support/host.ts';
import { browserPath, type OpenedPage, openPage } from './browser.ts';
import { addServers } from './effects.ts';
import { runTurn, startSystem } from './system.ts';

const skip = browserPath === undefined && 'no chromium: scripts/install-browser installs it';

const MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>';

/** No text has become an element, run or fetched anything. */
async function assertOnlyText({ page, complaints, loaded }: OpenedPage): Promise<void> {
  assert.deepEqual(complaints, []);
  assert.equal(await page.title(), 'Zero Latency');
  assert.equal(await page.locator('body script, iframe, object, a').count(), 0);
  assert.equal(await page.locator('img').count(), 1);
  const origin = new URL(page.url()).origin;
  assert.deepEqual(
    loaded.filter((url) => new URL(url).origin !== origin),
    [],
  );
}

test('[CLI-04] a browser shows the system, its tools and its turns', { skip }, async (t) => {
  const system = await startSystem(t, {
    prepare: (layout) =>
      addServers(layout, [
        { name: 'markup', args: [join(import.meta.dirname, 'fixtures/markup-server.ts')] },
      ]),
  });
  const session = await system.chat();
  await runTurn(session, 'read welcome.txt');
  await runTurn(session, 'call markup.say {}');
  await runTurn(session, 'call <img/src=x/onerror=alert(1)> {}');
  const opened = await openPage(t, system.settings.host.adminUrl, { colorScheme: 'dark' });
  const { page } = opened;
  const text = (selector: string) => page.locator(selector).allInnerTexts();
  await page.locator('.turn').nth(2).waitFor();

  const [latest = '', failed = '', read = ''] = await text('.turn summary');
  assert.match(latest, /1 call denied/);
  assert.match(failed, /1 call failed/);
  assert.match(read, /done\b(?!,)/);
  await page.locator('.turn summary').nth(1).click();
  await page.locator('.turn summary').nth(2).click();
  const calls = await text('.label.call');
  assert.match(calls.join('\n'), /<img\/src=x\/onerror=alert\(1\)>/);
  assert.match(calls.join('\n'), /fs\.read\s+done\s+allowed by developers-read-files/);
  assert.match(calls.join('\n'), /receipt of host and device/);
  const hops = page.locator('.turn').nth(2).locator('.label.hop');
  assert.deepEqual(await hops.allInnerTexts(), ['relay and network', 'bridge', 'MCP server']);

  const tools = (await text('.tools li')).join('\n');
  assert.match(tools, /fs\.read[\s\S]*allowed\s+developers-read-files/);
  assert.ok(tools.includes(MARKUP));
  assert.match((await text('.topology')).join('\n'), /this-machine[\s\S]*policy[\s\S]*in 13 days/);
  await assertOnlyText(opened);
});

test('[CLI-04] what a stolen relay names stays text, and so do its errors', { skip }, async (t) => {
  let isDown = false;
  const catalog = {
    servers: [
      {
        ...{ name: MARKUP, version: MARKUP, state: ServerState.READY },
        tools: [{ name: MARKUP, description: MARKUP }],
      },
    ],
  };
  const devices = [{ deviceId: MARKUP, relayId: MARKUP, bridgeVersion: MARKUP, catalog }];
  const fail = () => new ZlError('relay.unreachable', MARKUP);
  const { addresses } = await startTestHost(t, {
    settings: { 'admin.console': true },
    components: { [MARKUP]: () => Promise.reject(fail()) },
    overview: {
      relay: {
        list: async () => {
          if (isDown) throw fail();
          return create(ListDevicesResponseSchema, { devices });
        },
        status: () => ({ links: [{ url: MARKUP, state: 'lost', handles: 0 }] }),
      },
    },
  });
  const opened = await openPage(t, addresses.admin);
  const { page } = opened;
  await page.locator('#subject').selectOption('');
  await page.locator('[name=tenant]').fill('north');
  await page.locator('[name=roles]').fill(MARKUP);
  await page.locator('button').click();
  await page.locator('.tools li').waitFor();
  for (const place of ['.topology', '.device h3', '.tools', '#subject']) {
    assert.ok((await page.locator(place).innerText()).includes(MARKUP), place);
  }
  await assertOnlyText(opened);
  isDown = true;
  const words = () => page.locator('#devices').innerText();
  await eventually(async () => (await words()).includes(`unknown: ${MARKUP}`), {
    timeoutMs: 60_000,
    everyMs: 100,
  });
  await assertOnlyText(opened);
});
