// Runs the tests below the given folders or files; all of them by default.
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';

const everything = ['packages', 'services', 'test'];

function pattern(place: string): string {
  return statSync(place).isDirectory() ? `${place}/**/*.test.ts` : place;
}

const given = process.argv.slice(2);
const { status } = spawnSync(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--test',
    // Two files at a time: an end-to-end test starts three services of its own.
    '--test-concurrency=2',
    '--test-timeout=120000',
    '--test-reporter=spec',
    ...(given.length > 0 ? given : everything).map(pattern),
  ],
  { stdio: 'inherit' },
);
process.exitCode = status ?? 1;
