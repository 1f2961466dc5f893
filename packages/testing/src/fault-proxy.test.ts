import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { eventually, type FaultProxy, faultProxy } from './index.ts';

interface Wire {
  readonly proxy: FaultProxy;
  readonly dial: () => Promise<Socket>;
}

/** An echo server behind the proxy; leaves nothing open. */
async function withEcho(run: (wire: Wire) => Promise<void>): Promise<void> {
  const accepted = new Set<Socket>();
  const server: Server = createServer((socket) => {
    accepted.add(socket.on('error', () => {}));
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const proxy = await faultProxy({ target: { port } });
  const dialled: Socket[] = [];
  const dial = async () => {
    const socket = connect(proxy.port, proxy.host).on('error', () => {});
    dialled.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  try {
    await run({ proxy, dial });
  } finally {
    for (const socket of [...dialled, ...accepted]) socket.destroy();
    await proxy.close();
    server.close();
    await once(server, 'close');
  }
}

async function echo(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [data] = await once(socket, 'data');
  return String(data);
}

test('a healthy proxy passes bytes both ways and half-closes', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    assert.equal(await echo(socket, 'hello'), 'hello');
    assert.equal(proxy.connections, 1);
    socket.end();
    await once(socket, 'end');
    await eventually(() => proxy.connections === 0);
  });
});

test('a cut resets open connections and serves later ones', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    await echo(socket, 'x');
    proxy.cut();
    await eventually(() => socket.closed);
    assert.equal(await echo(await dial(), 'again'), 'again');
  });
});

test('a pause holds every byte and a resume delivers all of them in order', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    await echo(socket, 'x');
    const received: string[] = [];
    socket.on('data', (data) => received.push(String(data)));
    proxy.pause();
    socket.write('a');
    socket.write('b');
    // Another connection's whole handshake happens while the first receives nothing.
    await dial();
    assert.deepEqual(received, []);
    proxy.resume();
    await eventually(() => received.join('') === 'ab');
  });
});

test('a refusing proxy resets new connections and keeps the open ones', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const open = await dial();
    await echo(open, 'x');
    proxy.refuse();
    const refused = connect(proxy.port, proxy.host).on('error', () => {});
    await eventually(() => refused.closed);
    assert.equal(await echo(open, 'still'), 'still');
    proxy.refuse(false);
    assert.equal(await echo(await dial(), 'back'), 'back');
  });
});

test('a delay holds bytes for at least that long in each direction', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    await echo(socket, 'x');
    proxy.delay(20);
    const startedMs = performance.now();
    await echo(socket, 'y');
    // A timer may fire a millisecond early.
    assert.ok(performance.now() - startedMs >= 2 * 19);
  });
});

test('slices arrive as writes of their own, and together are what was sent', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    await echo(socket, 'x');
    proxy.weather({ sliceBytes: 3 }, 'down');
    const received: string[] = [];
    socket.on('data', (data) => received.push(String(data)));
    const text = 'slices keep their order';
    socket.write(text);
    await eventually(() => received.join('') === text);
    assert.ok(received.length > 1, `${received.length} writes`);
  });
});

test('jitter delays chunks by different times and keeps their order', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    await echo(socket, 'x');
    proxy.weather({ jitterMs: 20 });
    const received: string[] = [];
    socket.on('data', (data) => received.push(String(data)));
    let sent = '';
    for (let nth = 0; nth < 10; nth++) {
      sent += nth;
      socket.write(String(nth));
      await eventually(() => received.length > nth);
    }
    assert.equal(received.join(''), sent);
  });
});

test('a pause in one direction lets the other one through', async () => {
  const heard: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', (data) => heard.push(String(data)));
    socket.write('hello');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const proxy = await faultProxy({ target: { port } });
  try {
    proxy.pause('down');
    const socket = connect(proxy.port, proxy.host).on('error', () => {});
    const received: string[] = [];
    socket.on('data', (data) => received.push(String(data)));
    socket.write('up');
    await eventually(() => heard.join('') === 'up');
    assert.deepEqual(received, []);
    proxy.resume();
    await eventually(() => received.join('') === 'hello');
  } finally {
    await proxy.close();
    server.close();
    await once(server, 'close');
  }
});

test('a vanished connection is open at both ends and silent, and later ones are served', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const socket = await dial();
    await echo(socket, 'x');
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    proxy.vanish();
    socket.write('lost');
    assert.equal(await echo(await dial(), 'again'), 'again');
    assert.equal(heard, '');
    assert.equal(socket.closed, false);
    socket.destroy();
    await eventually(() => socket.closed);
  });
});

test('a proxy that is retargeted sends new connections elsewhere and keeps the open ones', async () => {
  await withEcho(async ({ proxy, dial }) => {
    const open = await dial();
    await echo(open, 'x');
    const other = createServer((socket) => socket.on('error', () => {}).end('elsewhere'));
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    proxy.retarget({ port: (other.address() as { port: number }).port });
    const [data] = await once(await dial(), 'data');
    assert.equal(String(data), 'elsewhere');
    assert.equal(await echo(open, 'still'), 'still');
    other.close();
    await once(other, 'close');
  });
});
