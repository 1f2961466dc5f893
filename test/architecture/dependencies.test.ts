import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const page = readFileSync('docs/dependencies.md', 'utf8');
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1),
  );
const explained = rows.flatMap(([names = '']) =>
  [...names.matchAll(/`([^`]+)`/g)].map((m) => m[1]),
);

/** Names and versions that any package.json of ours asks for, without our own packages. */
function wantedPackages(): Map<string, string> {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*package.json'], {
    encoding: 'utf8',
  });
  const manifests = listed
    .trim()
    .split('\n')
    .map((path): Manifest => JSON.parse(readFileSync(path, 'utf8')));
  const wanted = manifests.flatMap(
    ({ dependencies = {}, devDependencies = {}, optionalDependencies = {} }) =>
      Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }),
  );
  return new Map(wanted.filter(([name]) => !name.startsWith('@zerolatency/')));
}

test('docs/dependencies.md has a line for every dependency, and none besides', () => {
  assert.deepEqual([...explained].sort(), [...wantedPackages().keys()].sort());
});

test('every line says what for, what else was considered, the licence and who keeps it', () => {
  for (const row of rows) {
    assert.equal(row.length, 5, row[0]);
    assert.deepEqual(
      row.filter((cell) => cell === ''),
      [],
      row[0],
    );
  }
});

test('the licence of every line is the one that the installed package states', () => {
  for (const [names = '', , , licence = ''] of rows) {
    for (const [, name] of names.matchAll(/`([^`]+)`/g)) {
      const stated = statedLicence(`node_modules/${name}/package.json`);
      // Those for other machines are not installed.
      if (stated !== undefined) assert.ok(licence.startsWith(stated), `${name}: ${stated}`);
    }
  }
});

function statedLicence(path: string): string | undefined {
  try {
    return String(JSON.parse(readFileSync(path, 'utf8')).license).replace(/[()]/g, '');
  } catch {
    // Not installed here.
    return undefined;
  }
}
