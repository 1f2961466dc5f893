import { allDetectors, type DetectorName } from './detectors.ts';
import { StreamMasker } from './stream-masker.ts';

export interface Masked {
  readonly text: string;
  /** In order of first appearance. */
  readonly found: readonly DetectorName[];
}

/** Hears of each secret that is replaced. */
export type OnMasked = (detector: DetectorName) => void;

export interface MaskOptions {
  /** All of them when not given. */
  readonly detectors?: readonly DetectorName[] | undefined;
  readonly onMasked?: OnMasked | undefined;
}

/** Replaces every secret found by a placeholder such as [masked:jwt]. */
export function maskText(text: string, { detectors, onMasked }: MaskOptions = {}): Masked {
  const masker = new StreamMasker(detectors ?? allDetectors, onMasked);
  const masked = masker.push(text) + masker.end();
  return { text: masked, found: masker.found };
}
