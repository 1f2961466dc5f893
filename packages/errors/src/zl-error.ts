import { catalogue, type ErrorId } from './catalogue.ts';

/** The one error class that crosses a boundary; what it is about is its id. */
export class ZlError extends Error {
  override readonly name = 'ZlError';
  readonly id: ErrorId;

  constructor(id: ErrorId, message: string, options?: ErrorOptions) {
    super(message, options);
    this.id = id;
  }

  get code() {
    return catalogue[this.id].code;
  }

  get retryable(): boolean {
    return catalogue[this.id].retryable;
  }

  get help(): string {
    return catalogue[this.id].help;
  }

  /** Anchor in the error catalogue of the documentation. */
  get docs(): string {
    return `docs/errors.md#${this.id.replaceAll('.', '')}`;
  }
}
