export { expectMigrated, type Migrations, migrate } from './migrate.ts';
export {
  openPostgres,
  type Postgres,
  type PostgresDeps,
  type PostgresSettings,
  type Sql,
} from './postgres.ts';
