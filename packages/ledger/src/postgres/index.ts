export {
  type LedgerListing,
  type LedgersOptions,
  listLedgers,
  PostgresLedgers,
  sourceIn,
} from './postgres-ledgers.ts';
export { LEDGER_SCHEMA } from './schema.ts';
