import { after, before } from 'node:test';
import type { PostgresSettings } from '@zerolatency/service/postgres';
import { needsPostgres, type PostgresServer, startPostgres, tempDir } from '@zerolatency/testing';
import { openLedgerIn, type WriterOptions } from '../src/ledger.ts';
import { PostgresLedgers } from '../src/postgres/index.ts';
import type { LedgerStore } from '../src/store.ts';
import { ORIGIN, signer } from './ledger-fixture.ts';

export const SETTINGS: PostgresSettings = {
  url: { env: 'URL' },
  connections: 4,
  connectTimeoutMs: 1_000,
  statementTimeoutMs: 1_500,
};

/** One server for the tests of a file, and nothing of it afterwards. */
export function usePostgres() {
  const cleanups: (() => unknown)[] = [];
  const opened: PostgresLedgers[] = [];
  let server: PostgresServer | undefined;
  const scratch = {
    get server(): PostgresServer {
      if (server === undefined) throw new Error('the server has not started');
      return server;
    },
    async ledgers(options: { url?: string; beatEveryMs?: number } = {}): Promise<PostgresLedgers> {
      const { url = scratch.server.url(), beatEveryMs } = options;
      const more = beatEveryMs === undefined ? {} : { beatEveryMs };
      const all = await PostgresLedgers.open(SETTINGS, {
        ...{ env: { URL: url }, origin: ORIGIN },
        ...more,
      });
      opened.push(all);
      return all;
    },
  };
  before(async () => {
    if (needsPostgres().skip !== false) return;
    server = await startPostgres({ dir: tempDir({ after: (fn) => cleanups.push(fn) }) });
  });
  after(async () => {
    await Promise.all(opened.map((all) => all.close()));
    await server?.stop();
    for (const cleanup of cleanups) await cleanup();
  });
  return scratch;
}

export function openIn(store: LedgerStore, options: Partial<WriterOptions> = {}) {
  return openLedgerIn(store, { origin: ORIGIN, signer, ...options });
}
