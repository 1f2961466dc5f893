import { CATALOGUE, type ErrorCode, type ErrorId } from './catalogue.ts';

export interface ZlErrorOptions extends ErrorOptions {
  /** The path of the wrong field of a request, such as `start.history[2].role`. */
  readonly field?: string;
}

/** The one error class that crosses a boundary. Its id says what went wrong. */
export class ZlError extends Error {
  override readonly name = 'ZlError';
  readonly id: ErrorId;
  readonly field: string | undefined;

  constructor(id: ErrorId, message: string, options?: ZlErrorOptions) {
    super(message, options);
    this.id = id;
    this.field = options?.field;
  }

  get code(): ErrorCode {
    return CATALOGUE[this.id].code;
  }

  get retryable(): boolean {
    return CATALOGUE[this.id].retryable;
  }

  get help(): string {
    return CATALOGUE[this.id].help;
  }

  /** Anchor in the error catalogue of the documentation. */
  get docs(): string {
    return `docs/errors.md#${this.id.replaceAll('.', '')}`;
  }
}

export interface FromUnknownOptions {
  /** What an abort without a reason of ours means here. */
  readonly aborted?: ErrorId;
}

/** The one way from anything caught to an error with an id. */
export function fromUnknown(reason: unknown, options: FromUnknownOptions = {}): ZlError {
  if (reason instanceof ZlError) return reason;
  if (reason instanceof Error && reason.name === 'AbortError') {
    // undici hides the reason of an abort in its cause.
    if (reason.cause instanceof ZlError) return reason.cause;
    return new ZlError(options.aborted ?? 'operation.cancelled', 'cancelled', { cause: reason });
  }
  // The original message may hold a secret, so it stays in the cause, for the log.
  return new ZlError('internal', 'internal error', { cause: reason });
}

/** The fields of errors.v1.Error. */
export function toErrorMessage({ id, message, retryable, help, docs }: ZlError) {
  return { id, message, retryable, help, docs };
}
