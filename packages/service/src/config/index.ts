export { programHelp, readCommandLine } from './command-line.ts';
export { configDigest, describeConfig } from './describe.ts';
export { type ConfigSources, type ConfigSpec, loadConfig } from './load.ts';
export { dereference, type JsonSchema, prepareSchema } from './schema.ts';
export { resolveSecret, type SecretRef, type SecretSources } from './secret.ts';
export { parseBytes, parseDurationMs } from './units.ts';
export { suggestion } from './validate.ts';
