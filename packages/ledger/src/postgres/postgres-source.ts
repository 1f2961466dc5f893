import type { Sql } from '@zerolatency/service/postgres';
import { type Line, type Segment, segmentFrom } from '../segments.ts';
import type { LedgerSource } from '../store.ts';

/** Bounds what a reader holds at a time; a record has about a thousand bytes. */
const ROWS_AT_A_TIME = 256;

/** One ledger of the database, in the same parts as its files would have. */
export function postgresSource(sql: Sql, place: string, ledgerId: string): LedgerSource {
  return {
    name: `ledger ${ledgerId} of ${place}`,
    async segments() {
      const { rows } = await sql.query<{ index: string }>(
        'SELECT index FROM zl_ledger.records WHERE ledger_id = $1 AND begins_segment ORDER BY index',
        [ledgerId],
      );
      return rows.map(({ index }) => segmentFrom(Number(index)));
    },
    lines: (segment) => linesOf(sql, ledgerId, segment),
    async checkpoint() {
      const { rows } = await sql.query<{ checkpoint: string | null }>(
        'SELECT checkpoint FROM zl_ledger.ledgers WHERE ledger_id = $1',
        [ledgerId],
      );
      return rows[0]?.checkpoint ?? undefined;
    },
    async bundle(digest) {
      const { rows } = await sql.query<{ body: string }>(
        'SELECT body FROM zl_ledger.bundles WHERE digest = $1',
        [digest],
      );
      return rows[0] && Buffer.from(rows[0].body, 'utf8');
    },
  };
}

async function* linesOf(sql: Sql, ledgerId: string, { firstIndex }: Segment): AsyncGenerator<Line> {
  let next = firstIndex;
  let start = 0;
  for (let number = 1; ; ) {
    const { rows } = await sql.query<{ index: string; begins_segment: boolean; line: string }>(
      `SELECT index, begins_segment, line FROM zl_ledger.records
       WHERE ledger_id = $1 AND index >= $2 ORDER BY index LIMIT ${ROWS_AT_A_TIME}`,
      [ledgerId, next],
    );
    for (const { index, begins_segment: begins, line } of rows) {
      if (begins && Number(index) !== firstIndex) return;
      const bytes = Buffer.from(line, 'utf8');
      yield { bytes, start, isWhole: true, number };
      number++;
      start += bytes.byteLength + 1;
      next = Number(index) + 1;
    }
    if (rows.length < ROWS_AT_A_TIME) return;
  }
}
