import type {
  ClientHttp2Stream,
  ClientSessionOptions,
  ClientSessionRequestOptions,
  Http2Session,
  OutgoingHttpHeaders,
  SecureClientSessionOptions,
} from 'node:http2';
import { Http2SessionManager } from '@connectrpc/connect-node';

/**
 * The HTTP/2 connection of an RPC client, opened anew when it is gone.
 *
 * When a server sends GOAWAY, connect-node destroys an idle session with an
 * error that Node emits later. A request in between removes the manager's
 * listener, so the error would end the process:
 * https://github.com/connectrpc/connect-es/issues/1768
 */
export class ClientSessions {
  readonly #manager: Http2SessionManager;
  readonly #guarded = new WeakSet<Http2Session>();

  constructor(url: string, options: ClientSessionOptions | SecureClientSessionOptions) {
    this.#manager = new Http2SessionManager(url, {}, options);
  }

  get authority(): string {
    return this.#manager.authority;
  }

  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, 'signal'>,
  ): Promise<ClientHttp2Stream> {
    const stream = await this.#manager.request(method, path, headers, options);
    this.#guard(stream.session);
    return stream;
  }

  notifyResponseByteRead(stream: ClientHttp2Stream): void {
    this.#manager.notifyResponseByteRead(stream);
  }

  /** Ends the requests that run. */
  abort(): void {
    this.#manager.abort();
  }

  #guard(session: Http2Session | undefined): void {
    if (session === undefined || this.#guarded.has(session)) return;
    this.#guarded.add(session);
    // The request receives the error from its stream.
    session.on('error', () => {});
  }
}
