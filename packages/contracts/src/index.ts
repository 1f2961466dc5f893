export {
  compileSchema,
  type PreparedSchema,
  prepareSchema,
  type SchemaOrigin,
  type Validation,
  type Validator,
} from './compile-schema.ts';
export type { FieldError } from './field-error.ts';
export {
  loadToolContracts,
  type ToolContract,
  type ToolContracts,
  type ToolManifest,
} from './tool-contracts.ts';
