import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AdminPage, AdminPages, AdminRequest } from '@zerolatency/service/lifecycle';
import { type OverviewSources, overviewOf, type Subject } from '../../console/overview.ts';
import type { RecentTurns } from '../../console/recent-turns.ts';

/** Beside the bundle, or in the source tree. */
const PAGE_DIR = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? 'page' : 'console', import.meta.url),
);

const FILES = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/console/theme.css': { file: 'theme.css', type: 'text/css; charset=utf-8' },
  '/console/style.css': { file: 'style.css', type: 'text/css; charset=utf-8' },
  '/console/console.js': { file: 'console.js', type: 'text/javascript; charset=utf-8' },
  '/console/elements.js': { file: 'elements.js', type: 'text/javascript; charset=utf-8' },
  '/console/turns.js': { file: 'turns.js', type: 'text/javascript; charset=utf-8' },
  '/console/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' },
} as const;

/** Nothing but these files runs or is loaded, and no text can become markup. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
};

/** Longer than any name; what is longer names nobody. */
const MAX_NAME_CHARS = 256;
const MAX_ROLES = 32;

/** The console: its files, and the JSON that they show. */
export function consolePages(sources: OverviewSources, turns: RecentTurns): AdminPages {
  const files = Object.entries(FILES).map(([path, { file, type }]) => {
    const body = readFileSync(join(PAGE_DIR, file), 'utf8');
    return [path, guarded(async () => ({ status: 200, type, body }))] as const;
  });
  const overview = guarded(async ({ query }) => {
    const body = `${JSON.stringify(await overviewOf(sources, turns, readSubject(query)))}\n`;
    return { status: 200, type: 'application/json; charset=utf-8', body };
  });
  return { ...Object.fromEntries(files), '/console/overview.json': overview };
}

/** Without a tenant: whoever had the latest turn. */
function readSubject(query: URLSearchParams): Partial<Subject> {
  const tenant = query.get('tenant');
  if (tenant === null) return {};
  const name = (text: string) => text.slice(0, MAX_NAME_CHARS);
  return {
    tenant: name(tenant),
    user: name(query.get('user') ?? ''),
    roles: query.getAll('role').slice(0, MAX_ROLES).map(name),
  };
}

type Page = AdminPages[string];

/**
 * Probes and metrics are for whoever reaches the listener. The console names people, so it is for this
 * machine, or for whom a proxy on it lets through; and a name may be bound to this address by any site.
 */
function guarded(page: Page): Page {
  return async (request) => {
    if (!isLoopback(request.peer)) {
      return refused('the console answers on loopback only, so that a proxy decides who sees it');
    }
    if (!isAddress(request)) {
      return refused('the console is reached by address or as localhost, not by another name');
    }
    return { headers: HEADERS, ...(await page(request)) };
  };
}

function refused(why: string): AdminPage {
  return { status: 403, type: 'text/plain; charset=utf-8', headers: HEADERS, body: `${why}\n` };
}

function isLoopback(peer: string): boolean {
  return peer === '::1' || peer.replace('::ffff:', '').startsWith('127.');
}

function isAddress({ host }: AdminRequest): boolean {
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}
