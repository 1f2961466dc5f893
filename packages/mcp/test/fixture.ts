import { fileURLToPath } from 'node:url';

/** The fault of a server of test/servers/server.ts; `well` has none. */
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
  | 'answers-huge-in-order'
  | 'escapes-its-letters'
  | 'answers-with-rubbish'
  | 'drips'
  | 'is-slow'
  | 'reports-an-error'
  | 'answers-with-an-error'
  | 'answers-as-told'
  | 'is-deaf'
  | 'closes-stdout'
  | 'ignores-sigterm'
  | 'has-a-grandchild'
  | 'leaves-a-grandchild'
  | 'lists-without-end'
  | 'answers-big'
  | 'miscounts'
  | 'tells-a-change'
  | 'tells-changes-without-end'
  | 'logs-without-end'
  | 'reports-progress'
  | 'demands-a-task'
  | 'exits-on-discover'
  | 'ignores-discover';

/** A real MCP server of the 2025 era as its own process, with one fault. */
export function fixtureServer(behaviour: Behaviour) {
  const script = fileURLToPath(new URL('./servers/server.ts', import.meta.url));
  return { name: behaviour, command: process.execPath, args: [script, behaviour], env: {} };
}
