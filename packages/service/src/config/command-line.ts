import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { ZlError } from '@zerolatency/errors';
import type { ConfigSources } from './load.ts';

export interface CommandLine {
  readonly sources: ConfigSources;
  /** Print the effective configuration and exit. */
  readonly printConfig: boolean;
  /** Try what the settings name, and exit. */
  readonly checkConfig: boolean;
}

/** Reads the command line that every service takes. */
export async function readCommandLine(
  argv: readonly string[],
  options: {
    readonly program: string;
    readonly env: ConfigSources['env'];
    /** The variable that names the file when there is no --config. */
    readonly configEnv: string;
  },
): Promise<CommandLine> {
  const { program, env, configEnv } = options;
  const values = parse(argv, program);
  const path = values.config ?? env[configEnv];
  const file = path === undefined ? {} : { file: { path, text: await readConfigFile(path) } };
  const flags = Object.fromEntries(values.set.map((setting) => readSetting(setting, program)));
  return {
    sources: { ...file, env, flags },
    printConfig: values['print-config'],
    checkConfig: values['check-config'],
  };
}

function parse(argv: readonly string[], program: string) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string' },
        set: { type: 'string', multiple: true, default: [] },
        'print-config': { type: 'boolean', default: false },
        'check-config': { type: 'boolean', default: false },
      },
    }).values;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new ZlError('config.invalid', `${message}\n${usage(program)}`, { cause });
  }
}

function readSetting(setting: string, program: string): readonly [string, string] {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
  if (name !== undefined && value !== undefined) return [name, value];
  throw new ZlError('config.invalid', `--set ${setting} is not a setting\n${usage(program)}`);
}

function usage(program: string): string {
  return `usage: ${program} [--config <file>] [--set <setting>=<value> ...] [--print-config] [--check-config]`;
}

/** What --help prints. */
export function programHelp(program: string, commands: readonly string[] = []): string {
  const more = commands.map((command) => `\n       ${program} ${command} --help`);
  return `${usage(program)}${more.join('')}

Exit status:
  0    it was asked to stop and did, or a check found nothing wrong
  1    it could not start, it failed, or a check found something wrong`;
}

async function readConfigFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ZlError('config.invalid', `the configuration ${path} cannot be read`, { cause });
  }
}
