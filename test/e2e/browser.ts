import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import type { Lifetime } from './system.ts';

/** As Debian and others name it. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** Undefined where there is none; `scripts/install-browser` installs it. */
export const browserPath = (process.env.PATH ?? '')
  .split(':')
  .flatMap((folder) => NAMES.map((name) => join(folder, name)))
  .find((path) => existsSync(path));

/** A real browser may be slow to start on a busy machine, and to draw. */
const PATIENCE_MS = 60_000;

export interface OpenedPage {
  readonly page: Page;
  /** What the browser and the scripts complained about. */
  readonly complaints: readonly string[];
  /** The addresses of all that was loaded. */
  readonly loaded: readonly string[];
}

export async function openPage(
  t: Lifetime,
  url: string,
  options: { readonly colorScheme?: 'light' | 'dark'; readonly scale?: number } = {},
): Promise<OpenedPage> {
  if (browserPath === undefined) throw new Error('there is no chromium');
  const browser = await chromium.launch({ executablePath: browserPath, timeout: PATIENCE_MS });
  t.after(() => browser.close());
  const page = await browser.newPage({
    viewport: { width: 1200, height: 900 },
    colorScheme: options.colorScheme ?? 'light',
    deviceScaleFactor: options.scale ?? 1,
  });
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints: string[] = [];
  const loaded: string[] = [];
  page.on('console', (message) => {
    if (message.type() !== 'log') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  page.on('request', (request) => loaded.push(request.url()));
  await page.goto(url);
  return { page, complaints, loaded };
}
