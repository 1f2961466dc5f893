// Runs every benchmark of this folder, one after the other, so that none disturbs another.
// What is measured are the bundles, as they are shipped.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const NOT_BENCHMARKS = new Set(['run.ts', 'report.ts', 'lifetime.ts']);

const wanted = process.argv.slice(2);
const programs = readdirSync('bench')
  .filter((name) => name.endsWith('.ts') && !NOT_BENCHMARKS.has(name))
  .filter((name) => wanted.length === 0 || wanted.includes(name.replace('.ts', '')));

const bundled = spawnSync(process.execPath, ['scripts/bundle.ts'], { stdio: 'inherit' });
if (bundled.status !== 0) process.exit(1);

for (const name of programs) {
  const { status } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--expose-gc', `bench/${name}`],
    { stdio: 'inherit' },
  );
  if (status !== 0) {
    console.error(`bench/${name} ended with status ${status}`);
    process.exitCode = 1;
  }
}
