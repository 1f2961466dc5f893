import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const pages = ['README.md', ...globSync('docs/**/*.md')];

test('every link of the docs leads to a file, and to a heading that it has', () => {
  const broken = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)/g)]
      .filter(
        ([, path = '', heading]) => !leads(path === '' ? page : join(dirname(page), path), heading),
      )
      .map(([link]) => `${page}: ${link}`),
  );
  assert.deepEqual(broken, []);
});

test('every attack has its row in docs/security.md', () => {
  const page = readFileSync('docs/security.md', 'utf8');
  const missing = globSync('test/attack/*.test.ts').filter(
    (path) => !page.includes(`](../${path})`),
  );
  assert.deepEqual(missing, []);
});

function leads(path: string, heading: string | undefined): boolean {
  if (!existsSync(path)) return false;
  if (heading === undefined || !path.endsWith('.md')) return true;
  const headings = readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm);
  return [...headings].some(([, text = '']) => anchorOf(text) === heading);
}

/** As GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}
