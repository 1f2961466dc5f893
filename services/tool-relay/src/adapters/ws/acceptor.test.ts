import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, Server } from 'node:net';
import { test } from 'node:test';
import { Acceptor } from './acceptor.ts';

test('[OPS-04] an acceptor that is closed while its port is taken does not open it later', {
  timeout: 60_000,
}, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const accepted = Promise.withResolvers<void>();
  const failures: unknown[] = [];
  const acceptor = await Acceptor.open({
    ...{ host: '127.0.0.1', port: 0, maxConnections: 1 },
    onConnection: () => accepted.resolve(),
    onAccepting: () => {},
    onFailure: (error) => failures.push(error),
  });
  const { port } = acceptor;
  const client = connect(port, '127.0.0.1').on('error', () => {});
  await accepted.promise;
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  const closed = Promise.withResolvers<void>();
  const { listen } = Server.prototype;
  const listened = t.mock.method(
    Server.prototype,
    'listen',
    function (this: Server, wanted: number, host: string) {
      this.prependOnceListener('error', () => closed.resolve(acceptor.close()));
      return Reflect.apply(listen, this, [wanted, host]);
    },
  );
  client.destroy();
  await closed.promise;
  await new Promise<void>((resolve) => other.close(() => resolve()));
  t.mock.timers.tick(1000);
  assert.equal(listened.mock.callCount(), 1);
  assert.deepEqual(failures, []);
});
