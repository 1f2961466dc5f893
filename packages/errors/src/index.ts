export { CATALOGUE, type ErrorCode, type ErrorId, isErrorId } from './catalogue.ts';
export { fromLocal } from './from-local.ts';
export {
  type FromUnknownOptions,
  fromUnknown,
  type Happened,
  mostOf,
  publishCatalogueAt,
  toErrorMessage,
  ZlError,
} from './zl-error.ts';
