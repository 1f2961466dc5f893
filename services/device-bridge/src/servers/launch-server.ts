import { connectMcp, type McpConnection } from '@zerolatency/mcp';
import type { ManifestServer } from '@zerolatency/policy';
import { environmentOf } from './environment.ts';
import { checkExecutable } from './executable.ts';
import type { ServerDeps } from './managed-server.ts';

interface LaunchOptions {
  readonly onToolsChanged: (connection: McpConnection) => void;
  /** Closes the server, whether it has started or not. */
  readonly signal: AbortSignal;
  /** Ends it without the grace that a close gives. */
  readonly kill: AbortSignal;
}

/** One life of a server: the files that were signed, with what the manifest gives them. */
export async function launchServer(
  spec: ManifestServer,
  { environment, version, leftovers, log }: ServerDeps,
  { onToolsChanged, ...signals }: LaunchOptions,
): Promise<McpConnection> {
  const { name, command, args, cwd, limits } = spec;
  await checkExecutable(spec);
  let connection: McpConnection | undefined;
  connection = await connectMcp({
    transport: { kind: 'stdio', command, args, cwd, env: environmentOf(spec, environment) },
    client: { name: 'zerolatency-device-bridge', version },
    limits: definedOf({
      maxLineBytes: limits?.maxLineBytes,
      startTimeoutMs: limits?.startTimeoutMs,
    }),
    onStderr: (line) => log.debug({ server: name, line }, 'server stderr'),
    onSpawn: (pid) => leftovers.started(name, pid),
    onBadLine: () => log.warn({ server: name }, 'the server printed a line that is not MCP'),
    // Before the first list there is nothing that could have changed.
    onToolsChanged: () => connection && onToolsChanged(connection),
    ...signals,
  });
  return connection;
}

function definedOf(limits: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const defined: Record<string, number> = {};
  for (const [name, value] of Object.entries(limits)) {
    if (value !== undefined) defined[name] = value;
  }
  return defined;
}
