import { allDetectors, type DetectorName } from './detectors.ts';
import { StreamMasker } from './stream-masker.ts';

export interface Masked {
  readonly text: string;
  /** In order of first appearance. */
  readonly found: readonly DetectorName[];
}

/** Replaces every secret found by a placeholder such as [masked:jwt]. */
export function maskText(text: string, detectors: readonly DetectorName[] = allDetectors): Masked {
  const masker = new StreamMasker(detectors);
  const masked = masker.push(text) + masker.end();
  return { text: masked, found: masker.found };
}
