// An MCP server on the SDK that speaks one protocol era: node era-server.ts legacy|modern
import { Server } from '@modelcontextprotocol/server';
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio';

let description = 'Echoes.';
let listed = () => {};

function makeServer(): Server {
  const capabilities = { tools: { listChanged: true } };
  const server = new Server({ name: 'era', version: '1.2.3' }, { capabilities });
  server.setRequestHandler('tools/list', () => {
    listed();
    return { tools: [{ name: 'echo', description, inputSchema: { type: 'object' } }] };
  });
  server.setRequestHandler('tools/call', async ({ params }, { mcpReq }) => {
    const { progressToken } = mcpReq._meta ?? {};
    if (progressToken !== undefined) {
      const step = { progressToken, progress: 1, total: 2, message: 'half' };
      const next = new Promise<void>((resolve) => {
        listed = resolve;
      });
      await mcpReq.notify({ method: 'notifications/progress', params: step });
      // The client lists the tools once it has seen the progress.
      await next;
    }
    description = 'Echoes, changed.';
    await server.sendToolListChanged();
    return { content: [], structuredContent: { arguments: params.arguments } };
  });
  return server;
}

if (process.argv[2] === 'modern') serveStdio(makeServer, { legacy: 'reject' });
else await makeServer().connect(new StdioServerTransport());
