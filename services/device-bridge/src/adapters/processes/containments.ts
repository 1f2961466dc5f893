import { readdir } from 'node:fs/promises';
import { platform } from 'node:os';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { isBelow, type ManifestServer } from '@zerolatency/manifest';
import { makeFolder } from '@zerolatency/service/files';
import { sha256 } from '@zerolatency/signing';
import {
  type Containment,
  type ContainmentKind,
  type Program,
  reachOf,
} from '../../sandbox/containment.ts';
import { bubblewrapArgs, findBubblewrap, realOf, terminateSandbox } from './bubblewrap.ts';
import { endCgroup, endMarked, killCgroup } from './process-tree.ts';

interface ContainmentsOptions {
  /** Tells this bridge's servers from those of others. */
  readonly stateDir: string;
  /** The bridge's own files, which no server may see. */
  readonly hidden: readonly string[];
  /** What else decides what the bridge runs, which no server may change. */
  readonly guarded: readonly string[];
  /** Where bubblewrap is looked for. */
  readonly searchPath: string;
  /** The folder of a cgroup below which there may be others; see `ownCgroup`. */
  readonly cgroup: string | undefined;
  /** What an earlier bridge left behind could not be ended; servers start all the same. */
  readonly onLeft: (error: unknown) => void;
}

/** In the environment of servers, by which their processes are found. */
const MARK = 'ZL_CONTAINED_BY';

/** Contains each server as far as its manifest asks and this device can. */
export class Containments {
  readonly #options: ContainmentsOptions;
  readonly #mark: string;
  #bubblewrap: { readonly path: string } | { readonly why: string } | undefined;

  private constructor(options: ContainmentsOptions) {
    this.#options = options;
    this.#mark = Buffer.from(sha256(Buffer.from(options.stateDir)))
      .toString('hex')
      .slice(0, 16);
  }

  /** Kills what an earlier bridge of the same folder left behind. */
  static async open(options: ContainmentsOptions): Promise<Containments> {
    const containments = new Containments(options);
    await containments.close().catch(options.onLeft);
    return containments;
  }

  async contain(spec: ManifestServer, program: Program): Promise<Containment> {
    const sandbox = spec.sandbox === 'none' ? undefined : await this.#sandbox();
    if (sandbox !== undefined && 'path' in sandbox) {
      return await this.#inSandbox(sandbox.path, spec, program);
    }
    if (spec.sandbox === 'required') {
      const why = sandbox?.why ?? 'this system has none';
      throw new ZlError('tool.sandbox_unavailable', `${spec.name} requires a sandbox: ${why}`);
    }
    const { cgroup } = this.#options;
    return cgroup === undefined
      ? this.#marked('process group', spec.name, program)
      : await this.#inCgroup(cgroup, spec.name, program);
  }

  /** Kills every process of every server. */
  async close(): Promise<void> {
    const { cgroup: parent } = this.#options;
    const entries = parent === undefined ? [] : await readdir(parent);
    const own = entries.filter((entry) => entry.startsWith(this.#prefix));
    const ends = await Promise.allSettled([
      ...own.map((entry) => endCgroup(join(parent ?? '', entry))),
      endMarked(`${MARK}=${this.#mark}/`),
    ]);
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  get #prefix(): string {
    return `zl-${this.#mark}-`;
  }

  /** Asked again after a failure: somebody may have installed what was missing. */
  async #sandbox() {
    if (platform() !== 'linux') return { why: 'sandboxes need Linux' };
    if (this.#bubblewrap === undefined || 'why' in this.#bubblewrap) {
      this.#bubblewrap = await findBubblewrap(this.#options.searchPath);
    }
    return this.#bubblewrap;
  }

  async #inSandbox(path: string, spec: ManifestServer, program: Program): Promise<Containment> {
    const reach = reachOf(spec, program);
    const { hidden, guarded } = this.#options;
    await refuseOverlap(spec.name, { how: 'read', folders: reach.readable, files: hidden });
    const files = [...hidden, ...guarded];
    await refuseOverlap(spec.name, { how: 'write', folders: reach.writable, files });
    const args = await bubblewrapArgs(program, reach, hidden);
    // The PID namespace ends by itself, and a little later than its first process.
    const wrapped = { ...program, command: path, args, cwd: undefined };
    const marked = this.#marked('sandbox', spec.name, wrapped);
    return { ...marked, program: { ...marked.program, terminate: terminateSandbox } };
  }

  async #inCgroup(parent: string, name: string, program: Program): Promise<Containment> {
    const folder = join(parent, `${this.#prefix}${name}`);
    await makeFolder(folder);
    // It joins before it can fork. 0 is the process that writes.
    const script = 'echo 0 > "$1" && shift && exec "$@"';
    const joined = [join(folder, 'cgroup.procs'), program.command, ...program.args];
    const args = ['-c', script, 'sh', ...joined];
    const marked = this.#marked('cgroup', name, { ...program, command: '/bin/sh', args });
    // It stays for the next process, which may be the same server greeted anew. It belongs to
    // the server's user too, so a process may have left it.
    const end = async () => void (await Promise.all([killCgroup(folder), marked.end()]));
    return { ...marked, end };
  }

  #marked(kind: ContainmentKind, name: string, { code: _, ...program }: Program): Containment {
    const mark = `${this.#mark}/${name}/`;
    return {
      kind,
      program: { ...program, env: { ...program.env, [MARK]: mark } },
      end: () => endMarked(`${MARK}=${mark}`),
    };
  }
}

/** A readable folder may hold files of the bridge, which are masked there; a writable one may not. */
async function refuseOverlap(
  server: string,
  {
    how,
    folders,
    files,
  }: { how: 'read' | 'write'; folders: readonly string[]; files: readonly string[] },
): Promise<void> {
  const own = await Promise.all(files.map(realOf));
  for (const folder of await Promise.all(folders.map(realOf))) {
    const isOwn = own.some((file) => isBelow(folder, file));
    if (!isOwn && !(how === 'write' && own.some((file) => isBelow(file, folder)))) continue;
    const why = `${folder} ${isOwn ? 'belongs to the bridge' : 'holds files of the bridge'}`;
    throw new ZlError('manifest.invalid', `${server}: grants.${how}: ${why}; grant another folder`);
  }
}
