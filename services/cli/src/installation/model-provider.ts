import { ZlError } from '@zerolatency/errors';

/** A provider of models that the environment names. Only the host reads its key. */
export interface FoundProvider {
  /** Also the alias of its model. */
  readonly name: string;
  readonly model: string;
  /** The variable that names it. */
  readonly variable: string;
  readonly type: string;
  readonly baseUrl?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A local server answers at once, or is not there. */
const LIST_TIMEOUT_MS = 3000;
const MAX_LIST_BYTES = 1024 * 1024;

/** The first is the default. Their models call tools well at a moderate price. */
const VENDORS: readonly ((env: Environment) => FoundProvider | undefined)[] = [
  (env) =>
    byKey(env, {
      ...{ name: 'anthropic', model: 'claude-sonnet-4-5', variable: 'ANTHROPIC_API_KEY' },
      // Anthropic's own programs take it without the version.
      ...at(env.ANTHROPIC_BASE_URL, '/v1'),
    }),
  (env) =>
    byKey(env, {
      ...{ name: 'openai', model: 'gpt-5.4-mini', variable: 'OPENAI_API_KEY' },
      ...at(env.OPENAI_BASE_URL, ''),
    }),
  (env) =>
    byKey(env, {
      ...{ name: 'google', model: 'gemini-2.5-flash', variable: 'GEMINI_API_KEY' },
      ...at(env.GOOGLE_GEMINI_BASE_URL, '/v1beta'),
    }),
];

/** What `zl up` lets the host ask. @throws installation.failed when OLLAMA_HOST leads nowhere. */
export async function findProviders(env: Environment): Promise<readonly FoundProvider[]> {
  const found = VENDORS.map((find) => find(env)).filter((each) => each !== undefined);
  const ollama = env.OLLAMA_HOST ?? '';
  return ollama === '' ? found : [...found, await findOllama(ollama)];
}

/** Settings of the host, as its command line takes them. */
export function hostSettingsOf(found: readonly FoundProvider[]): Readonly<Record<string, string>> {
  const [first] = found;
  if (first === undefined) return {};
  const each = found.map(({ name, model, type, baseUrl, variable }) => ({
    [`models.aliases.${name}.provider`]: name,
    [`models.aliases.${name}.model`]: model,
    [`providers.vendors.${name}.type`]: type,
    ...(baseUrl !== undefined && { [`providers.vendors.${name}.baseUrl`]: baseUrl }),
    ...(type !== 'openai-compatible' && { [`providers.vendors.${name}.key.env`]: variable }),
  }));
  return {
    'models.default': first.name,
    'models.aliases.mock.provider': 'mock',
    'models.aliases.mock.model': 'scripted',
    ...Object.assign({}, ...each),
  };
}

function byKey(env: Environment, provider: Omit<FoundProvider, 'type'>): FoundProvider | undefined {
  const { name, variable } = provider;
  return (env[variable] ?? '') === '' ? undefined : { ...provider, type: name };
}

function at(given: string | undefined, version: string): Pick<FoundProvider, 'baseUrl'> {
  return given === undefined || given === '' ? {} : { baseUrl: `${trimmed(given)}${version}` };
}

/** Ollama's models are whatever its user has pulled; the newest comes first. */
async function findOllama(host: string): Promise<FoundProvider> {
  const variable = 'OLLAMA_HOST';
  const baseUrl = `${ollamaOrigin(host)}/v1`;
  try {
    const signal = AbortSignal.timeout(LIST_TIMEOUT_MS);
    const response = await fetch(`${baseUrl}/models`, { signal, redirect: 'error' });
    const text = await response.text();
    if (text.length > MAX_LIST_BYTES) throw new Error('its list of models is too long');
    const model: unknown = JSON.parse(text)?.data?.[0]?.id;
    if (typeof model !== 'string') throw new Error('it has no model; "ollama pull" one');
    return { name: 'ollama', model, variable, type: 'openai-compatible', baseUrl };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${variable} is set, but ${baseUrl} is of no use: ${why}`;
    throw new ZlError('installation.failed', message, { cause });
  }
}

/** As Ollama reads it: a host, with or without scheme and port, and 0.0.0.0 for a server on all addresses. */
function ollamaOrigin(host: string): string {
  const url = new URL(/^https?:\/\//.test(host) ? host : `http://${host}`);
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
  if (url.port === '' && url.protocol === 'http:' && !/:80\/?$/.test(host)) url.port = '11434';
  return trimmed(url.origin);
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, '');
}
