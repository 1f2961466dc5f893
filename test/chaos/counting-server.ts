// An MCP server whose one tool appends a line to a file whenever it acts. A call may ask it to
// wait at a stage until the file for its key is in the folder of those that may go on.
import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const POLL_MS = 5;
/** Longer than anybody waits before the bridge is killed. */
const MAX_STOP_MS = 10_000;

const [counted = '', goOn = ''] = process.argv.slice(2);

async function stop(key: string): Promise<void> {
  const untilMs = performance.now() + MAX_STOP_MS;
  while (!existsSync(join(goOn, key)) && performance.now() < untilMs) await delay(POLL_MS);
}

function makeServer(): McpServer {
  const server = new McpServer({ name: 'counter', version: '1.0.0' });
  server.registerTool(
    'act',
    {
      description: 'Appends a line and answers with as many characters as asked for.',
      inputSchema: z.object({
        key: z.string(),
        size: z.number(),
        stopAt: z.enum(['', 'received', 'acted']),
        waitMs: z.number(),
      }),
    },
    async ({ key, size, stopAt, waitMs }) => {
      if (stopAt !== '') appendFileSync(counted, `received ${key}\n`);
      if (stopAt === 'received') await stop(key);
      appendFileSync(counted, `acted ${key}\n`);
      if (stopAt === 'acted') await stop(key);
      else await delay(waitMs);
      if (stopAt === 'acted') {
        // The answer is in the pipe by then.
        setTimeout(() => appendFileSync(counted, `answered ${key}\n`), POLL_MS);
      }
      return { content: [{ type: 'text', text: key.padEnd(size, '.') }] };
    },
  );
  return server;
}

serveStdio(makeServer);
