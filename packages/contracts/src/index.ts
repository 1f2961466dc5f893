export { canonicalJson, canonicalText, MAX_VALUE_DEPTH } from './canonical-json.ts';
export { compileSchema, type Validation, type Validator } from './compile-schema.ts';
export { type Digest, digestOf, digestOfBytes, sha256 } from './digest.ts';
export type { FieldError } from './field-error.ts';
export {
  loadToolContracts,
  type ToolContract,
  type ToolContracts,
  type ToolManifest,
} from './tool-contracts.ts';
