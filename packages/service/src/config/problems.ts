import { ZlError } from '@zerolatency/errors';
import { closest, distance } from 'fastest-levenshtein';

/** A suggestion further off than this helps nobody; two letters may always be swapped. */
const MAX_DISTANCE_RATIO = 0.4;
const MIN_DISTANCE = 2;

/** Everything wrong with a configuration, so that it is corrected in one go. */
export class Problems {
  readonly #lines: string[] = [];

  add(line: string): void {
    this.#lines.push(line);
  }

  throwIfAny(): void {
    if (this.#lines.length === 0) return;
    throw new ZlError('config.invalid', this.#lines.join('\n'));
  }
}

/** ' Did you mean "x"?', or nothing when no name is near. */
export function suggestion(unknown: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const nearest = closest(unknown, known);
  const far =
    distance(unknown, nearest) > Math.max(MIN_DISTANCE, unknown.length * MAX_DISTANCE_RATIO);
  return far ? '' : ` Did you mean "${nearest}"?`;
}
