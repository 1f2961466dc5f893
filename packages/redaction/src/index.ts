export { escapeUnseen, ForeignText, foreignLine, foreignText } from './foreign-text.ts';
export { maskKnown } from './known-secrets.ts';
export { type Masked, type MaskOptions, maskJson, maskText, type OnMasked } from './mask.ts';
export { ALL_DETECTORS, type DetectorName, STREAM_DETECTORS } from './matcher.ts';
export { isSecretName } from './matchers/secret-value.ts';
export { StreamMasker } from './stream-masker.ts';
