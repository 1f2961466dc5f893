import {
  closeSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
} from 'node:fs';

const CLOSE_ON_EXEC = 0o2000000;

/**
 * Closes what whoever started this process left open, since every server would inherit it too.
 * Node marks the lowest ones for that and opens all of its own so, except for the certificates
 * of NODE_EXTRA_CA_CERTS, which OpenSSL may be reading in another thread now.
 */
export function closeInheritedDescriptors(env: Readonly<Record<string, string | undefined>>): void {
  const { NODE_EXTRA_CA_CERTS: path = '' } = env;
  const certificates = existsSync(path) ? realpathSync(path) : '';
  for (const name of listOrEmpty('/proc/self/fd')) {
    const descriptor = Number(name);
    if (descriptor > 2 && isInheritable(descriptor, certificates)) closeSync(descriptor);
  }
}

function isInheritable(descriptor: number, certificates: string): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${descriptor}`) === certificates) return false;
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8');
    const [, flags = ''] = /^flags:\s+([0-7]+)$/m.exec(info) ?? [];
    return flags !== '' && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // The one that listed the folder is closed by now.
    return false;
  }
}

/** Empty on systems without /proc. */
function listOrEmpty(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
