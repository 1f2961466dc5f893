/**
 * Whether one of the keys still lets in what was let in before. A key that
 * cannot be read vouches for nothing: it must not keep what a revoked one signed.
 */
export function isVouchedFor(
  keys: readonly string[],
  read: (keys: readonly string[]) => object,
): boolean {
  return keys.some((key) => {
    try {
      return !('error' in read([key]));
    } catch {
      // Told where it is offered.
      return false;
    }
  });
}
