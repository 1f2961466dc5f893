import { type Happened, mostOf } from '@zerolatency/errors';

/** What a turn or a call has done so far, with everything that runs inside it. */
export class EffectTracker {
  #most: Happened = 'nothing';
  #underWay = 0;

  /** Nobody knows yet what work under way does. */
  get happened(): Happened {
    return this.#underWay > 0 ? 'may have run' : this.#most;
  }

  async during<T extends { readonly happened: Happened }>(work: Promise<T>): Promise<T> {
    this.#underWay += 1;
    const end = await work;
    // Work that rejects has not said what it did, so it counts as under way for ever.
    this.#underWay -= 1;
    this.#most = mostOf(this.#most, end.happened);
    return end;
  }
}
