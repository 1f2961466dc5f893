// Takes docs/console.png and docs/console-dark.png of the console over a system of its own.
import { join } from 'node:path';
import { openPage } from '../test/e2e/browser.ts';
import { addEffectsServer } from '../test/e2e/effects.ts';
import { runTurn, startSystem } from '../test/e2e/system.ts';

const docs = join(import.meta.dirname, '../docs');
const cleanups: (() => unknown)[] = [];
const lifetime = { after: (fn: () => unknown) => void cleanups.push(fn) };

try {
  const system = await startSystem(lifetime, { prepare: addEffectsServer });
  const session = await system.chat();
  for (const text of [
    'hello',
    'read missing.txt',
    'call notes.search {}',
    'act once 120 200',
    'talk',
    'read welcome.txt',
    'act twice both 180 200',
  ]) {
    await runTurn(session, text);
  }
  for (const [colorScheme, name] of [
    ['light', 'console.png'],
    ['dark', 'console-dark.png'],
  ] as const) {
    const { page } = await openPage(lifetime, system.settings.host.adminUrl, { colorScheme });
    await page.locator('.waterfall .row').first().waitFor();
    await page.screenshot({ path: join(docs, name), fullPage: true });
  }
} finally {
  for (const cleanup of cleanups) await cleanup();
}
