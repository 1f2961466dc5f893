import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { segmentAt } from '../../packages/ledger/src/segments.ts';
import { BUNDLE_FILE, honestDrafts } from './altered-ledgers.ts';

/** What someone does who holds no key: the files change, and hashes or signatures do not fit. */
export interface ByteAlteration {
  readonly name: string;
  readonly alter: (dir: string) => void;
  /** For what is lost and not altered. */
  readonly leaves?: 'unchecked';
}

function rewrite(file: string, change: (text: string) => string): ByteAlteration['alter'] {
  return (dir) => {
    const path = join(dir, file);
    const before = readFileSync(path, 'utf8');
    const after = change(before);
    if (after === before) throw new Error(`${file} is not altered`);
    writeFileSync(path, after);
  };
}

const COUNT = honestDrafts().length;
const SEGMENT = segmentAt('', 0).name;
const lines = (change: (lines: string[]) => string[]) =>
  rewrite(SEGMENT, (text) => change(text.trimEnd().split('\n')).join('\n').concat('\n'));
const line = (index: number, change: (line: string) => string) =>
  lines((all) => all.with(index, change(all[index] ?? '')));
const note = (change: (text: string) => string) => rewrite('checkpoint', change);

const eachLine = honestDrafts().flatMap(({ kind }, index): ByteAlteration[] => [
  {
    name: `${kind} ${index} has another time`,
    alter: line(index, (text) => text.replace(/"at":"2/, '"at":"1')),
  },
  { name: `${kind} ${index} is gone`, alter: lines((all) => all.toSpliced(index, 1)) },
  {
    name: `${kind} ${index} is there twice`,
    alter: lines((all) => all.toSpliced(index, 0, all[index] ?? '')),
  },
]);

export const BYTE_ALTERATIONS: readonly ByteAlteration[] = [
  ...eachLine,
  {
    name: 'two records changed places',
    alter: lines((all) => all.with(3, all[4]!).with(4, all[3]!)),
  },
  { name: 'a line has white space', alter: line(2, (text) => text.replace(':', ': ')) },
  { name: 'a line ends with a carriage return', alter: line(2, (text) => `${text}\r`) },
  { name: 'a line is empty', alter: lines((all) => all.toSpliced(2, 0, '')) },
  { name: 'a line is not JSON', alter: line(2, (text) => text.slice(1)) },
  { name: 'a line is a list', alter: line(2, (text) => `[${text}]`) },
  {
    name: 'a line has a field twice',
    alter: line(1, (text) => text.replace('}', ',"version":"0"}')),
  },
  {
    name: 'a line has its version as a fraction',
    alter: line(2, (text) => text.replace('"v":2', '"v":2.0')),
  },
  {
    name: 'a line has its version as text',
    alter: line(2, (text) => text.replace('"v":2', '"v":"2"')),
  },
  {
    name: 'a line has a number that JSON does not know',
    alter: line(2, (text) => text.replace('"v":2', '"v":NaN')),
  },
  {
    name: 'a line has an escape that is not needed',
    alter: line(5, (text) => text.replace('"north"', '"\\u006eorth"')),
  },
  { name: 'the last line is cut', alter: rewrite(SEGMENT, (text) => text.slice(0, -40)) },
  { name: 'the last line feed is gone', alter: rewrite(SEGMENT, (text) => text.slice(0, -1)) },
  { name: 'all records are gone', alter: (dir) => rmSync(join(dir, SEGMENT)) },
  { name: 'the checkpoint is gone', alter: (dir) => rmSync(join(dir, 'checkpoint')) },
  { name: 'the checkpoint is empty', alter: note(() => '') },
  {
    name: 'the checkpoint covers one more',
    alter: note((text) => text.replace(`\n${COUNT}\n`, `\n${COUNT + 1}\n`)),
  },
  {
    name: 'the checkpoint covers one less',
    alter: note((text) => text.replace(`\n${COUNT}\n`, `\n${COUNT - 1}\n`)),
  },
  {
    name: 'the checkpoint writes its size in another way',
    alter: note((text) => text.replace(`\n${COUNT}\n`, `\n0${COUNT}\n`)),
  },
  {
    name: 'the checkpoint has another origin',
    alter: note((text) => text.replaceAll('outside/', 'inside/')),
    leaves: 'unchecked',
  },
  { name: 'the checkpoint has another ledger', alter: note((text) => text.replaceAll('/0', '/1')) },
  {
    name: 'the checkpoint has no signature',
    alter: note((text) => `${text.split('\n\n')[0]}\n\n`),
  },
  {
    name: 'the checkpoint has another signature',
    alter: note((text) => text.replace(/.{8}(..)\n$/, 'AAAAAAAA$1\n')),
  },
  { name: 'the checkpoint ends without a line feed', alter: note((text) => text.trimEnd()) },
  {
    name: 'the bundle has another rule',
    alter: rewrite(BUNDLE_FILE, (text) => text.replace('no-write', 'no-reads')),
  },
  { name: 'the bundle is not JSON', alter: rewrite(BUNDLE_FILE, (text) => text.slice(1)) },
  {
    name: 'the bundle is gone',
    alter: (dir) => rmSync(join(dir, BUNDLE_FILE)),
    leaves: 'unchecked',
  },
];
