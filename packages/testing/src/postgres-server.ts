import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { freePort } from './free-port.ts';

/** Debian keeps these programs off the path, one folder for each major version. */
const VERSIONS = '/usr/lib/postgresql';
const PROGRAMS = ['initdb', 'postgres'];
const bin = ['', ...debianFolders()].find((folder) =>
  PROGRAMS.every((name) => spawnSync(join(folder, name), ['--version']).error === undefined),
);

/** The user `nobody`: PostgreSQL refuses to run as root. */
const UNPRIVILEGED = { uid: 65_534, gid: 65_534 };
const owner = process.getuid?.() === 0 ? UNPRIVILEGED : undefined;

/** Ports are free when they are chosen, and a killed server holds its memory until its children end. */
const MAX_STARTS = 20;
const RETRY_MS = 250;

export interface PostgresOptions {
  /** An existing folder of its own. For root, others may then pass through the folders above it. */
  readonly dir: string;
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** Lines of postgresql.conf. */
  readonly config?: readonly string[];
}

export interface PostgresServer {
  readonly port: number;
  /** Of the superuser `owner`, for the given database. */
  url(database?: string): string;
  /** What it wrote so far. */
  output(): string;
  /** SIGKILL to the server; what it had committed is there after start(). */
  kill(): Promise<void>;
  /** On the same port. */
  start(): Promise<void>;
  /** SIGSTOP to the server and its children: connections stay open, and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** Ends every connection at once. */
  stop(): Promise<void>;
}

export function needsPostgres(): { readonly skip: string | false } {
  return { skip: bin === undefined ? 'postgresql is not installed' : false };
}

/** A PostgreSQL on a free loopback port that commits as one in production does. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const server = new Postgres(options);
  await server.start();
  return server;
}

class Postgres implements PostgresServer {
  readonly #dir: string;
  readonly #password = randomBytes(12).toString('hex');
  readonly #tls: PostgresOptions['tls'];
  #port: number | undefined;
  #child: ChildProcess | undefined;
  #output = '';

  constructor({ dir, tls, config = [] }: PostgresOptions) {
    this.#dir = join(dir, 'data');
    this.#tls = tls;
    letIn(dir);
    const passwordFile = join(dir, 'password');
    writeFileSync(passwordFile, this.#password);
    give(passwordFile);
    const args = ['--username=owner', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
    const more = ['--no-locale', '--encoding=UTF8', '--no-sync', '--no-instructions'];
    execFileSync(program('initdb'), [...args, ...more, this.#dir], {
      ...owner,
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    appendFileSync(
      join(this.#dir, 'postgresql.conf'),
      [...this.#settings(), ...config, ''].join('\n'),
    );
  }

  get port(): number {
    return this.#port ?? 0;
  }

  url(database = 'postgres'): string {
    return `postgres://owner:${this.#password}@127.0.0.1:${this.port}/${database}`;
  }

  output(): string {
    return this.#output;
  }

  async start(): Promise<void> {
    for (let started = 1; ; started++) {
      const port = this.#port ?? (await freePort());
      if (await this.#run(port)) {
        this.#port = port;
        return;
      }
      if (started === MAX_STARTS) throw new Error(`no PostgreSQL: ${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  stop(): Promise<void> {
    this.thaw();
    return this.#end('SIGQUIT');
  }

  freeze(): void {
    this.#signalAll('STOP');
  }

  thaw(): void {
    this.#signalAll('CONT');
  }

  #settings(): string[] {
    const base = [
      "listen_addresses = '127.0.0.1'",
      "unix_socket_directories = ''",
      'shared_buffers = 8MB',
      'max_connections = 40',
      'autovacuum = off',
    ];
    if (this.#tls === undefined) return base;
    const files = { cert: this.#tls.certFile, key: this.#tls.keyFile };
    const lines = Object.entries(files).map(([name, from]) => {
      const file = join(this.#dir, `server.${name}`);
      copyFileSync(from, file);
      chmodSync(file, 0o600);
      give(file);
      return `ssl_${name}_file = 'server.${name}'`;
    });
    return [...base, 'ssl = on', ...lines];
  }

  /** False when it did not start. */
  async #run(port: number): Promise<boolean> {
    const child = spawn(program('postgres'), ['-D', this.#dir, '-p', String(port)], {
      ...owner,
      cwd: this.#dir,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    const exited = once(child, 'exit');
    const isReady = Promise.withResolvers<true>();
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      if (text.includes('ready to accept connections')) isReady.resolve(true);
    });
    return (await Promise.race([isReady.promise, exited])) === true;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** Each child leads a session of its own, so no signal to a group reaches them. */
  #signalAll(signal: 'STOP' | 'CONT'): void {
    const { pid, exitCode, signalCode } = this.#child ?? {};
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    // One that has ended meanwhile is not signalled, which the shell reports.
    spawnSync('sh', ['-c', `kill -${signal} ${pid} ${children}`]);
  }
}

function program(name: string): string {
  if (bin === undefined) throw new Error('postgresql is not installed');
  return join(bin, name);
}

function debianFolders(): string[] {
  if (!existsSync(VERSIONS)) return [];
  const newestFirst = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a));
  return newestFirst.map((version) => join(VERSIONS, version, 'bin'));
}

function give(path: string): void {
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
}

/** The other user owns the folder, and may pass through those above it. */
function letIn(dir: string): void {
  if (owner === undefined) return;
  give(dir);
  for (let folder = dirname(dir); folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = statSync(folder);
    if ((mode & 0o001) === 0) chmodSync(folder, mode | 0o011);
  }
}
