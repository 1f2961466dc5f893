// Runs the tests below the given folders or files; all of them by default. The end-to-end
// tests among them start the services as they are shipped, so those are bundled first.
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { relative } from 'node:path';

const everything = ['packages', 'services', 'test'];

function pattern(place: string): string {
  return statSync(place).isDirectory() ? `${place}/**/*.test.ts` : place;
}

const given = process.argv.slice(2);
const places = given.length > 0 ? given.map((place) => relative('.', place)) : everything;
if (places.some((place) => place.startsWith('test'))) {
  const { status } = spawnSync(process.execPath, ['scripts/bundle.ts'], { stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
const { status } = spawnSync(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--test',
    // Three files at a time: an end-to-end test starts three services of its own.
    '--test-concurrency=3',
    '--test-timeout=120000',
    '--test-reporter=spec',
    ...places.map(pattern),
  ],
  { stdio: 'inherit' },
);
process.exitCode = status ?? 1;
