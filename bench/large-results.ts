// What large results cost each process of their way from an MCP server to the model's host and on to the client.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../services/cli/src/installation/layout.ts';
import { runningPid, SERVICES, type Service } from '../services/cli/src/installation/processes.ts';
import { addServers, configOf, editConfig } from '../test/e2e/effects.ts';
import { callIn, type System, startSystem } from '../test/e2e/system.ts';
import { cleanUp, lifetime } from './lifetime.ts';

const server = join(projectRoot, 'bench/floors/large-server.mjs');
const TICK_MS = 10;
const SIZES = [
  { kind: 'text', chars: 200, calls: 400 },
  { kind: 'text', chars: 1_000_000, calls: 20 },
  { kind: 'text', chars: 10_000_000, calls: 5 },
  { kind: 'base64', chars: 10_000_000, calls: 5 },
] as const;

function usage(pid: number) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    rssMib: kib('VmRSS') / 1024,
    peakMib: kib('VmHWM') / 1024,
  };
}

const system: System = await startSystem(lifetime, {
  async prepare(layout) {
    await addServers(layout, [
      {
        name: 'large',
        args: [server],
        grants: { read: [join(projectRoot, 'node_modules'), server] },
        effects: { get: 'none' },
      },
    ]);
    const { tools } = await configOf(layout.host.config);
    const scriptFile = join(projectRoot, 'bench/tool-call-script.yaml');
    await editConfig(layout.host.config, {
      tools: { ...tools, maxResult: '16MiB' },
      providers: { mock: { scriptFile } },
    });
  },
});
try {
  const pids = new Map<Service | 'bench', number>([['bench', process.pid]]);
  for (const service of SERVICES)
    pids.set(service, (await runningPid(system.layout, service)) ?? 0);
  console.log(JSON.stringify([...pids]));
  const chat = await system.chat();
  for (const { kind, chars, calls } of SIZES) {
    const once = async () => {
      const { outcome, errorMessage, resultJson } = await callIn(chat, 'large.get', {
        kind,
        chars,
      });
      if (outcome !== 'DONE' || resultJson.length < chars)
        throw new Error(`${outcome} ${errorMessage}`);
    };
    await once();
    if (chars < 1000) for (let i = 0; i < 400; i++) await once();
    const before = new Map([...pids].map(([name, pid]) => [name, usage(pid)]));
    const startMs = performance.now();
    for (let i = 0; i < calls; i += 1) await once();
    const seconds = (performance.now() - startMs) / 1000;
    const mb = (calls * chars) / 1e6;
    console.log(
      `${kind} ${chars}: ${(mb / seconds).toFixed(1)} MB/s, ${((seconds * 1e3) / calls).toFixed(1)} ms a call`,
    );
    for (const [name, pid] of pids) {
      const b = before.get(name)!;
      const a = usage(pid);
      const per =
        chars < 1000
          ? `${((a.cpuMs - b.cpuMs) / calls).toFixed(3)} ms/call`
          : `${((a.cpuMs - b.cpuMs) / mb).toFixed(1)} ms/MB`;
      console.log(
        `  ${name.padEnd(14)} ${per}  rss ${b.rssMib.toFixed(0)} -> ${a.rssMib.toFixed(0)} peak ${a.peakMib.toFixed(0)} MiB`,
      );
    }
  }
} finally {
  await cleanUp();
}
