export { CATALOGUE, type ErrorCode, type ErrorId, isErrorId } from './catalogue.ts';
export { type FromUnknownOptions, fromUnknown, toErrorMessage, ZlError } from './zl-error.ts';
