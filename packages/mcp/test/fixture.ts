import { fileURLToPath } from 'node:url';

/** What a server of test/servers/server.ts does wrong; `well` does nothing wrong. */
export type Behaviour =
  | 'well'
  | 'exits-at-start'
  | 'hangs-at-start'
  | 'exits-on-call'
  | 'hangs-on-call'
  | 'hangs-for-good-on-call'
  | 'floods-without-newline'
  | 'floods-with-lines'
  | 'floods-with-messages'
  | 'prints-a-banner'
  | 'prints-a-huge-line'
  | 'answers-with-rubbish'
  | 'drips'
  | 'is-slow'
  | 'reports-an-error'
  | 'is-deaf'
  | 'ignores-sigterm'
  | 'has-a-grandchild'
  | 'leaves-a-grandchild'
  | 'lists-without-end'
  | 'answers-big'
  | 'miscounts'
  | 'tells-a-change'
  | 'tells-changes-without-end'
  | 'logs-without-end';

/** A real MCP server as its own process, with one fault. */
export function fixtureServer(behaviour: Behaviour) {
  const script = fileURLToPath(new URL('./servers/server.ts', import.meta.url));
  return { name: behaviour, command: process.execPath, args: [script, behaviour], env: {} };
}
