// Opens streams on many connections, again and again, until it is killed: an attacker that takes no
// time from the clients of the test.
import { type ClientHttp2Session, connect } from 'node:http2';
import { setImmediate as turnOfLoop } from 'node:timers/promises';

const { RPC = '', CA = '', TOKEN = '' } = process.env;
const CONNECTIONS = 64;
const STREAMS = 300;
const headers = {
  ':method': 'POST',
  ':path': '/zerolatency.agent.v1.AgentService/StreamChat',
  'content-type': 'application/grpc',
  authorization: `Bearer ${TOKEN}`,
};

for (;;) await flood();

async function flood(): Promise<void> {
  const sessions = Array.from({ length: CONNECTIONS }, () =>
    connect(RPC, { ca: CA }).on('error', () => {}),
  );
  for (const session of sessions) {
    openStreams(session);
    await turnOfLoop();
  }
  process.stdout.write('.');
  await turnOfLoop();
  for (const session of sessions) session.destroy();
}

function openStreams(session: ClientHttp2Session): void {
  for (let opened = 0; opened < STREAMS && !session.destroyed; opened++) {
    session
      .request(headers)
      .on('error', () => {})
      .resume();
  }
}
