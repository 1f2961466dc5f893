// Mounts the attacks of test/attack at their long sizes, prints their figures and writes
// bench/out/attack.json. Arguments name single attacks.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeReport } from '../bench/report.ts';
import { type Figure, lineOf } from '../test/attack/attack.ts';

const wanted = process.argv.slice(2).map((name) => `test/attack/${name}.test.ts`);
const folder = mkdtempSync(join(tmpdir(), 'zl-attack-'));
const file = join(folder, 'figures.jsonl');
writeFileSync(file, '');
const { status } = spawnSync(
  process.execPath,
  ['scripts/test.ts', ...(wanted.length > 0 ? wanted : ['test/attack'])],
  { stdio: 'inherit', env: { ...process.env, ZL_ATTACK: 'long', ZL_ATTACK_FIGURES: file } },
);
const figures: Figure[] = readFileSync(file, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line));
rmSync(folder, { recursive: true, force: true });
console.log();
for (const figure of figures) console.log(lineOf(figure));
writeReport({
  name: 'attack',
  method: 'each attack mounted on running programs, one after the other, at its long size',
  figures: figures.map(({ name, ...figure }) => ({ ...figure, metric: name })),
});
process.exitCode = status ?? 1;
