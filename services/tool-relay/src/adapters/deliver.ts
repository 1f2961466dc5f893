import type { Socket, SocketListener } from '../ports.ts';

/**
 * A defect in how one message is handled ends one socket. Without this it would
 * end the process: an exception must not reach an engine's callback.
 */
export function deliver(
  { socket, listener }: { readonly socket: Socket; readonly listener: SocketListener },
  bytes: Buffer,
  onFailure: (error: unknown) => void,
): void {
  try {
    listener.onMessage(bytes);
  } catch (error) {
    onFailure(error);
    socket.close(1011, 'internal');
    listener.onEnd('closed');
  }
}
