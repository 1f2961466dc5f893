import { BROKEN_RULES } from './sim/broken-rules.ts';
import { scheduleOf } from './sim/schedule.ts';
import { printSchedule, shrink } from './sim/shrink.ts';
import { violationsOf } from './sim/world.ts';

for (const [name, variant] of BROKEN_RULES) {
  let hits = 0,
    first = -1;
  for (let seed = 0; seed < 4000; seed++) {
    const v = violationsOf(scheduleOf(seed), variant);
    if (v.length) {
      hits++;
      if (first < 0) {
        first = seed;
        const s = shrink(scheduleOf(seed), (c) => violationsOf(c, variant).length > 0);
        console.log(name, seed, v, `\n${printSchedule(s)}`);
      }
    }
  }
  console.log('==', name, 'hits', hits, 'first', first);
}
