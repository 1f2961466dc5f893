import { fromUnknown, ZlError } from './zl-error.ts';

/** What Node's codes mean to a person whose file or folder it was. */
const FILE_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be used by this user',
  EPERM: 'may not be used by this user',
  EROFS: 'is on a file system that cannot be written',
  ENOTDIR: 'lies below something that is not a folder',
  EISDIR: 'is a folder and not a file',
  EEXIST: 'is in the way',
  ENOTEMPTY: 'is in the way',
  ELOOP: 'is a symbolic link without end',
  ENAMETOOLONG: 'has a name that is too long',
  ENOSPC: 'is on a disk without free space',
  EDQUOT: 'is on a disk without free space',
};

const PORT_FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is taken by another program',
  EACCES: 'needs privileges that this user does not have',
  EPERM: 'needs privileges that this user does not have',
  EADDRNOTAVAIL: 'is not on an address of this machine',
};

/**
 * As fromUnknown, for the person who runs the program: a file or port of their own machine is no
 * defect, and the message of a defect is not hidden from them. Never sent to a peer.
 */
export function fromLocal(reason: unknown): ZlError {
  const error = fromUnknown(reason);
  const { id, cause } = error;
  if (id !== 'internal' || !(cause instanceof Error)) return error;
  return systemFault(cause) ?? new ZlError('internal', cause.message, { cause });
}

function systemFault(cause: Error): ZlError | undefined {
  const [code, syscall, path, address, port] = ['code', 'syscall', 'path', 'address', 'port'].map(
    (name): unknown => Reflect.get(cause, name),
  );
  if (syscall === 'listen') {
    const fault = PORT_FAULTS[String(code)];
    const place = typeof port === 'number' ? `port ${port} of ${address}` : address;
    if (fault === undefined) return undefined;
    return new ZlError('port.unusable', `${place} ${fault}`, { cause });
  }
  const fault = FILE_FAULTS[String(code)];
  if (fault === undefined || path === undefined) return undefined;
  return new ZlError('file.unusable', `${path} ${fault}`, { cause });
}
