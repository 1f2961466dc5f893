// Writes and fsyncs one record after another: what durable appends cost without sharing an fsync.
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';

const [path = '', records = '0', bytes = '0'] = process.argv.slice(2);
const line = Buffer.alloc(Number(bytes), 'x');
const file = openSync(path, 'a');
const started = process.hrtime.bigint();
for (let i = 0; i < Number(records); i++) {
  writeSync(file, line);
  fdatasyncSync(file);
}
const elapsedUs = Number(process.hrtime.bigint() - started) / 1_000;
closeSync(file);
console.log(elapsedUs / Number(records));
