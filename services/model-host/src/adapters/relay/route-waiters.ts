import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { DeviceConnection } from '../../executors/device/routes.ts';

interface Waiter {
  readonly resolve: (connection: DeviceConnection) => void;
  readonly reject: (error: ZlError) => void;
}

export interface RouteWaitersOptions {
  readonly waitMs: number;
  readonly onEmpty: () => void;
}

/** Those who wait for a route to come up before anything of theirs was sent. */
export class RouteWaiters {
  readonly #options: RouteWaitersOptions;
  readonly #waiters = new Set<Waiter>();
  #last: ZlError | undefined;

  constructor(options: RouteWaitersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiters.size;
  }

  add(signal: AbortSignal): Promise<DeviceConnection> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(fromUnknown(signal.reason));
        return;
      }
      const { waitMs } = this.#options;
      const onAbort = () => waiter.reject(fromUnknown(signal.reason));
      const timer = setTimeout(
        () =>
          waiter.reject(
            this.#last ?? new ZlError('device.offline', `no answer within ${waitMs} ms`),
          ),
        waitMs,
      );
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#waiters.delete(waiter);
        if (this.#waiters.size === 0) this.#options.onEmpty();
      };
      const waiter: Waiter = {
        resolve: (connection) => {
          settle();
          resolve(connection);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
    });
  }

  resolveAll(connection: DeviceConnection): void {
    this.#last = undefined;
    for (const waiter of [...this.#waiters]) waiter.resolve(connection);
  }

  rejectAll(error: ZlError): void {
    for (const waiter of [...this.#waiters]) waiter.reject(error);
  }

  /** One try failed. Waiting goes on where the next try may find a device that is just reconnecting. */
  failed(error: ZlError): void {
    this.#last = error;
    if (isFinal(error)) this.rejectAll(error);
  }
}

function isFinal({ id }: ZlError): boolean {
  return (
    id === 'device.unknown' || id === 'device.credential_invalid' || id.startsWith('identity.')
  );
}
