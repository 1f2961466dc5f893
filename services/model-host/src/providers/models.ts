import { ZlError } from '@zerolatency/errors';
import type { LlmProvider } from './port.ts';

export interface Model {
  readonly alias: string;
  readonly provider: LlmProvider;
  readonly name: string;
  readonly maxOutputTokens?: number | undefined;
}

export interface ModelEntry {
  readonly provider: string;
  readonly model: string;
  readonly maxOutputTokens?: number | undefined;
}

/** Model aliases, resolved once at start so that a wrong one is found before the first turn. */
export class Models {
  readonly #default: Model;
  readonly #byAlias: ReadonlyMap<string, Model>;

  constructor(
    aliases: Readonly<Record<string, ModelEntry>>,
    defaultAlias: string,
    providers: ReadonlyMap<string, LlmProvider>,
  ) {
    const byAlias = new Map<string, Model>();
    for (const [alias, entry] of Object.entries(aliases)) {
      const provider = providers.get(entry.provider);
      if (provider === undefined) {
        throw new ZlError(
          'config.invalid',
          `models.aliases.${alias}.provider names "${entry.provider}", which is not configured`,
        );
      }
      const { model: name, maxOutputTokens } = entry;
      byAlias.set(alias, { alias, provider, name, maxOutputTokens });
    }
    const fallback = byAlias.get(defaultAlias);
    if (fallback === undefined) {
      throw new ZlError('config.invalid', `models.default names "${defaultAlias}", not an alias`);
    }
    this.#default = fallback;
    this.#byAlias = byAlias;
  }

  /** The default first. */
  get aliases(): readonly string[] {
    const others = [...this.#byAlias.keys()].filter((alias) => alias !== this.#default.alias);
    return [this.#default.alias, ...others];
  }

  /** An empty alias is the default. */
  resolve(alias: string): Model {
    if (alias === '') return this.#default;
    const model = this.#byAlias.get(alias);
    if (model === undefined) {
      throw new ZlError('provider.unknown_model', `no model alias "${alias}"`);
    }
    return model;
  }
}
