export { type CommandLine, readCommandLine } from './command-line.ts';
export { describeConfig } from './describe.ts';
export { configDigest } from './digest.ts';
export { dereference, type JsonSchema } from './json-schema.ts';
export { type ConfigSources, type ConfigSpec, loadConfig } from './load.ts';
export { prepareSchema } from './prepare-schema.ts';
export { resolveSecret, type SecretRef, type SecretSources, secretRefSchema } from './secret.ts';
export { parseBytes, parseDurationMs } from './units.ts';
