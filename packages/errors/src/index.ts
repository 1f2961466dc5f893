export { catalogue, type ErrorId, isErrorId } from './catalogue.ts';
export { fromUnknown, toConnectError, toErrorMessage } from './from-unknown.ts';
export { ZlError } from './zl-error.ts';
