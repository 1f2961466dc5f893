// A listener in a process that runs out of file descriptors, and gets them back, as its parent asks.
import { closeSync, openSync } from 'node:fs';
import { listen } from '../src/rpc/http-server.ts';

const HOUR_MS = 3_600_000;
const say = (event: string) => process.stdout.write(`${event}\n`);

const server = await listen({
  ...{ host: '127.0.0.1', port: 0, tls: undefined },
  limits: {
    ...{ max: 1000, perAddress: 1000, connectsPerAddress: 1000, maxUnproved: 1000 },
    ...{ maxStreams: 10, maxUnprovedStreams: 10 },
    ...{ handshakeMs: HOUR_MS, idleMs: HOUR_MS, stalledMs: HOUR_MS },
  },
  observer: {
    cut: () => {},
    fewDescriptors: () => {},
    accepting: (isAccepting) => say(isAccepting ? 'accepting' : 'paused'),
  },
  handler: (_, response) => void response.end('served'),
});

const held: number[] = [];
process.stdin.on('data', (command) => {
  if (String(command).includes('give')) {
    for (const descriptor of held.splice(0)) closeSync(descriptor);
    return;
  }
  try {
    for (;;) held.push(openSync('/dev/null', 'r'));
  } catch {
    say('exhausted');
  }
});
say(server.url);
