export { allDetectors, type DetectorName, streamDetectors } from './detectors.ts';
export { maskJson } from './mask-json.ts';
export { type Masked, type MaskOptions, maskText, type OnMasked } from './mask-text.ts';
export { isSecretName } from './secret-name.ts';
export { StreamMasker } from './stream-masker.ts';
