export type { ScriptRunner } from './connection.ts';
export { type Script, script } from './script.ts';
export {
  compileRedis,
  type RedisSecrets,
  type RedisSettings,
  readRedisSecrets,
} from './settings.ts';
