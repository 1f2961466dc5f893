import type { SSLApp, us_listen_socket_close, us_socket_local_port } from 'uWebSockets.js';

export interface NativeUws {
  readonly SSLApp: typeof SSLApp;
  readonly us_listen_socket_close: typeof us_listen_socket_close;
  readonly us_socket_local_port: typeof us_socket_local_port;
}

/** Undefined where there is no binary for this platform and Node. */
export async function loadNative(): Promise<NativeUws | undefined> {
  try {
    return await import('uWebSockets.js');
  } catch {
    // The package throws while it loads; that is how it says so.
    return undefined;
  }
}
