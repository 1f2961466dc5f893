import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { platform } from 'node:os';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { isBelow, type ManifestServer } from '@zerolatency/manifest';
import { sha256 } from '@zerolatency/signing';
import {
  type Containment,
  type ContainmentKind,
  type Program,
  reachOf,
} from '../../sandbox/containment.ts';
import { bubblewrapArgs, findBubblewrap, realOf } from './bubblewrap.ts';
import { endCgroup, endMarked } from './process-tree.ts';

interface ContainmentsOptions {
  /** Tells this bridge's servers from those of others. */
  readonly stateDir: string;
  /** The bridge's own files, which no server may see. */
  readonly hidden: readonly string[];
  /** Where bubblewrap is looked for. */
  readonly searchPath: string;
  /** The folder of a cgroup below which there may be others; see `ownCgroup`. */
  readonly cgroup: string | undefined;
}

/** In the environment of servers without a cgroup, by which their processes are found. */
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
    await containments.close();
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
      : await this.#inCgroup(join(cgroup, `${this.#prefix}${spec.name}`), program);
  }

  /** Kills every process of every server. */
  async close(): Promise<void> {
    const { cgroup: parent } = this.#options;
    if (parent !== undefined) {
      const own = (await readdir(parent)).filter((entry) => entry.startsWith(this.#prefix));
      for (const folder of own.map((entry) => join(parent, entry))) {
        await endCgroup(folder);
        await rmdir(folder);
      }
    }
    await endMarked(`${MARK}=${this.#mark}/`);
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
    const { hidden } = this.#options;
    const own = await Promise.all(hidden.map(realOf));
    for (const folder of await Promise.all(reach.writable.map(realOf))) {
      if (!own.some((file) => isBelow(file, folder))) continue;
      const why = `grants.write: ${folder} holds files of the bridge; grant a folder that does not`;
      throw new ZlError('manifest.invalid', `${spec.name}: ${why}`);
    }
    const args = await bubblewrapArgs(program, reach, hidden);
    // The PID namespace ends by itself, and a little later than its first process.
    return this.#marked('sandbox', spec.name, { ...program, command: path, args, cwd: undefined });
  }

  async #inCgroup(folder: string, program: Program): Promise<Containment> {
    await mkdir(folder, { recursive: true });
    const { command, args, env, cwd } = program;
    // It joins before it can fork. 0 is the process that writes.
    const script = 'echo 0 > "$1" && shift && exec "$@"';
    const joined = ['-c', script, 'sh', join(folder, 'cgroup.procs'), command, ...args];
    return {
      kind: 'cgroup',
      program: { command: '/bin/sh', args: joined, env, cwd },
      end: () => endCgroup(folder),
    };
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
