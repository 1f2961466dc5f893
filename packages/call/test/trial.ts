import { scheduleOf } from './sim/schedule.ts';
import { printSchedule, shrink } from './sim/shrink.ts';
import { violationsOf } from './sim/world.ts';

const from = Number(process.argv[2] ?? 0),
  to = Number(process.argv[3] ?? 1000);
const t = performance.now();
let bad = 0;
for (let seed = from; seed < to; seed++) {
  const s = scheduleOf(seed);
  let v: string[];
  try {
    v = violationsOf(s);
  } catch (e) {
    v = [String((e as Error).stack)];
  }
  if (v.length) {
    bad++;
    if (bad <= 3) {
      const kind = v[0]!.replace(/\(.*/, '');
      const f = (c: import('./sim/schedule.ts').Schedule) => {
        try {
          return violationsOf(c).some((x) => x.startsWith(kind));
        } catch (e) {
          return String((e as Error).stack) === v[0];
        }
      };
      console.log(seed, v, '\n' + printSchedule(shrink(s, f)));
    }
  }
}
console.log(
  bad,
  'bad of',
  to - from,
  ((performance.now() - t) / (to - from)).toFixed(2),
  'ms each',
);
