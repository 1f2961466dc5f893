export { canonicalJson, canonicalText, MAX_VALUE_DEPTH } from './canonical-json.ts';
export { type Digest, digestOf, digestOfBytes, sha256 } from './digest.ts';
