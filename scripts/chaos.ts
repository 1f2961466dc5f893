// Plays every fault of test/chaos on a running system until 10,000 calls have been made, and
// prints what held. An argument is the seed of an earlier run to repeat.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MAX_SEED = 1e6;
const [given] = process.argv.slice(2);
const seed = given ?? String(Math.floor(Math.random() * MAX_SEED));
const kept = join('bench', 'out', 'chaos');
const report = join(kept, 'report.txt');
const log = join(kept, 'output.txt');
rmSync(kept, { recursive: true, force: true });
mkdirSync(kept, { recursive: true });
writeFileSync(report, '');
console.log(`seed ${seed}: "node scripts/chaos.ts ${seed}" repeats it; output in ${log}`);
const output = openSync(log, 'w');
const { status } = spawnSync(process.execPath, ['scripts/test.ts', 'test/chaos'], {
  stdio: ['ignore', output, output],
  env: {
    ...process.env,
    ZL_ATTACK: 'long',
    ZL_CHAOS_SEED: seed,
    ZL_CHAOS_REPORT: join(process.cwd(), report),
    ZL_CHAOS_KEPT: join(process.cwd(), kept),
  },
});
closeSync(output);
process.stdout.write(readFileSync(report, 'utf8'));
console.log(status === 0 ? 'all of it held' : `failed: logs, ledger and counts are in ${kept}`);
process.exitCode = status ?? 1;
