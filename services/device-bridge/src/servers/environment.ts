import type { ManifestServer } from '@zerolatency/policy';

/** The whole environment of a server: what the manifest sets, and what it lets through. */
export function environmentOf(
  { env }: Pick<ManifestServer, 'env'>,
  own: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const allowed = env.allow.flatMap((name) => {
    const value = own[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(allowed), ...env.set };
}
