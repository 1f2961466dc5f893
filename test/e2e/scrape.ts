/** One line of a scrape. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A parsed scrape; `types` holds its TYPE lines. */
export interface Scrape {
  readonly types: ReadonlyMap<string, string>;
  readonly samples: readonly Sample[];
}

// prom-client spells it Nan, and Prometheus reads it in any case.
const SAMPLE_LINE =
  /^(?<name>[a-zA-Z_:][\w:]*)(?:\{(?<labels>.*)\})? (?<value>-?[\d.]+(?:e[+-]?\d+)?|[Nn]a[Nn]|[+-]Inf)$/;
const LABEL_PAIR = /(?<name>[a-zA-Z_]\w*)="(?<value>(?:[^"\\]|\\["\\n])*)"(?:,|$)/gy;

/** Parses the text format of Prometheus and throws on anything else. */
export function readScrape(text: string): Scrape {
  if (!text.endsWith('\n')) throw new Error('a scrape ends with a newline');
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const [, name = '', type = ''] =
      /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? [];
    if (name !== '') types.set(name, type);
    else if (line !== '' && !line.startsWith('# HELP ')) samples.push(readSample(line));
  }
  for (const { name } of samples) {
    if (!types.has(familyOf(name, types))) throw new Error(`${name} has no TYPE line`);
  }
  return { types, samples };
}

/** A histogram's samples have suffixed names. */
export function familyOf(name: string, types: ReadonlyMap<string, string>): string {
  const family = name.replace(/_(bucket|sum|count)$/, '');
  return types.get(family) === 'histogram' ? family : name;
}

/** The sum over samples of the name that have these labels. */
export function sumOf({ samples }: Scrape, name: string, labels: Sample['labels'] = {}): number {
  return samples
    .filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([key, is]) => sample.labels[key] === is))
    .reduce((sum, { value }) => sum + value, 0);
}

/** Families with a sample that has changed. */
export function movedBetween(before: Scrape, after: Scrape): ReadonlySet<string> {
  const was = new Map(before.samples.map((sample) => [keyOf(sample), sample.value]));
  const moved = after.samples.filter(
    (sample) => !Object.is(was.get(keyOf(sample)) ?? 0, sample.value),
  );
  return new Set(moved.map(({ name }) => familyOf(name, after.types)));
}

function keyOf({ name, labels }: Sample): string {
  return JSON.stringify([name, Object.entries(labels).sort()]);
}

function readSample(line: string): Sample {
  const { groups } = SAMPLE_LINE.exec(line) ?? {};
  if (groups?.name === undefined) throw new Error(`not a sample: ${line}`);
  const { name, labels = '', value } = groups;
  const pairs = [...labels.matchAll(LABEL_PAIR)];
  if (pairs.map(([pair]) => pair).join('') !== labels) throw new Error(`not labels: ${line}`);
  return {
    name,
    labels: Object.fromEntries(pairs.map((pair) => [pair.groups?.name, pair.groups?.value])),
    value: Number(value?.replace('Inf', 'Infinity')),
  };
}
