import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { findProviders, hostSettingsOf } from './model-provider.ts';

test('[PROV-01] without a variable of a provider the host keeps its own settings', async () => {
  const found = await findProviders({ ANTHROPIC_API_KEY: '', OLLAMA_HOST: '', PATH: '/bin' });
  assert.deepEqual([found, hostSettingsOf(found)], [[], {}]);
});

test('[PROV-04] names the variables of keys and never the keys', async () => {
  const env = { OPENAI_API_KEY: 'sk-1', GEMINI_API_KEY: 'sk-2', ANTHROPIC_API_KEY: 'sk-3' };
  const settings = hostSettingsOf(await findProviders(env));
  assert.equal(settings['models.default'], 'anthropic');
  assert.equal(settings['models.aliases.mock.provider'], 'mock');
  assert.equal(settings['providers.vendors.anthropic.key.env'], 'ANTHROPIC_API_KEY');
  assert.equal(settings['providers.vendors.openai.key.env'], 'OPENAI_API_KEY');
  assert.equal(settings['providers.vendors.google.key.env'], 'GEMINI_API_KEY');
  assert.doesNotMatch(JSON.stringify(settings), /sk-/);
});

test('[PROV-01] a server of Ollama serves the first of its models', async (t) => {
  const server = createServer((request, response) => {
    const data = request.url === '/v1/models' ? [{ id: 'qwen3:8b' }, { id: 'other' }] : [];
    response.end(JSON.stringify({ object: 'list', data }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  for (const host of [`127.0.0.1:${port}`, `http://127.0.0.1:${port}/`, `0.0.0.0:${port}`]) {
    const settings = hostSettingsOf(await findProviders({ OLLAMA_HOST: host }));
    assert.deepEqual(settings, {
      'models.default': 'ollama',
      'models.aliases.mock.provider': 'mock',
      'models.aliases.mock.model': 'scripted',
      'models.aliases.ollama.provider': 'ollama',
      'models.aliases.ollama.model': 'qwen3:8b',
      'providers.vendors.ollama.type': 'openai-compatible',
      'providers.vendors.ollama.baseUrl': `http://127.0.0.1:${port}/v1`,
    });
  }
});

test('[PROV-01] an OLLAMA_HOST that leads nowhere is named', async () => {
  await assert.rejects(findProviders({ OLLAMA_HOST: '127.0.0.1:1' }), {
    id: 'installation.failed',
    message: /^OLLAMA_HOST is set, but http:\/\/127\.0\.0\.1:1\/v1 /,
  });
});
