import { CATALOGUE, type ErrorCode, type ErrorId } from './catalogue.ts';

/**
 * What had happened by the time of an error, from the least to the most: no tool ran, tools
 * without effects ran, or a tool with effects may have run.
 */
export type Happened = 'nothing' | 'no effects' | 'may have run';

/** The page in the project; a service names the page that its clients can open. */
let catalogueUrl = 'docs/errors.md';

/** For all errors of this process. */
export function publishCatalogueAt(url: string | undefined): void {
  if (url !== undefined) catalogueUrl = url;
}

export function mostOf(one: Happened, other: Happened): Happened {
  if (one === 'nothing') return other;
  return other === 'may have run' ? other : one;
}

export interface ZlErrorOptions extends ErrorOptions {
  /** The path of the wrong field of a request, such as `start.history[2].role`. */
  readonly field?: string;
  /** Nothing, when absent. */
  readonly happened?: Happened;
  /** How long the peer that refused asks to wait. */
  readonly retryAfterMs?: number;
}

/** The one error class that crosses a boundary. Its id says what went wrong. */
export class ZlError extends Error {
  override readonly name = 'ZlError';
  readonly id: ErrorId;
  readonly field: string | undefined;
  readonly happened: Happened;
  readonly retryAfterMs: number | undefined;

  constructor(id: ErrorId, message: string, options?: ZlErrorOptions) {
    super(message, options);
    this.id = id;
    this.field = options?.field;
    this.happened = options?.happened ?? 'nothing';
    this.retryAfterMs = options?.retryAfterMs;
  }

  get code(): ErrorCode {
    return CATALOGUE[this.id].code;
  }

  /** Whether the same request may be repeated without the risk of a second effect. */
  get retryable(): boolean {
    return this.happened !== 'may have run' && CATALOGUE[this.id].retryable;
  }

  get help(): string {
    return CATALOGUE[this.id].help;
  }

  /** This error, as what ended work in which so much had happened. */
  after(happened: Happened): ZlError {
    const most = mostOf(this.happened, happened);
    if (most === this.happened) return this;
    const { id, message, field, cause, stack, retryAfterMs } = this;
    const error = new ZlError(id, message, {
      cause,
      happened: most,
      ...(field && { field }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
    return stack === undefined ? error : Object.assign(error, { stack });
  }

  /** Anchor in the error catalogue of the documentation. */
  get docs(): string {
    return `${catalogueUrl}#${this.id.replaceAll('.', '')}`;
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
export function toErrorMessage({ id, message, retryable, help, docs }: ZlError, traceId: string) {
  return { id, message, retryable, help, docs, traceId };
}
