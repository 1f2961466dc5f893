export {
  type LedgerListing,
  type LedgersOptions,
  listLedgers,
  PostgresLedgers,
  sourceIn,
} from './postgres-ledgers.ts';
