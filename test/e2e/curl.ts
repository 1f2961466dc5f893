import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Layout } from '../../services/cli/src/installation/layout.ts';

export interface CurlRequest {
  readonly url: string;
  readonly token?: string;
  readonly body: unknown;
  readonly headers?: readonly string[];
}

/** Requests a Connect stream with curl and returns its JSON messages. */
export async function curlStream(
  layout: Layout,
  { url, token, body, headers = [] }: CurlRequest,
): Promise<Record<string, unknown>[]> {
  const message = Buffer.from(JSON.stringify(body));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  const file = join(layout.home, 'request.bin');
  await writeFile(file, Buffer.concat([head, message]));
  const all = ['content-type: application/connect+json', ...headers];
  if (token !== undefined) all.push(`authorization: Bearer ${token}`);
  const answer = await curl([
    // Over HTTP/2, curl 7.88 sometimes waits for ever after a complete refusal.
    ...[
      '--http1.1',
      '--silent',
      '--show-error',
      '--max-time',
      '20',
      '--cacert',
      layout.authority.cert,
    ],
    ...all.flatMap((header) => ['--header', header]),
    ...['--data-binary', `@${file}`, url],
  ]);
  return [...messagesOf(answer)];
}

function curl(args: readonly string[]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    execFile('curl', args, { encoding: 'buffer' }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.code === 'ENOENT') reject(new Error('curl is missing: install curl'));
      else reject(new Error(`curl: ${stderr}`, { cause: error }));
    });
  });
}

/** Each message follows a byte of flags and its length. */
function* messagesOf(bytes: Buffer): Generator<Record<string, unknown>> {
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    yield JSON.parse(bytes.toString('utf8', at + 5, at + 5 + length));
    at += 5 + length;
  }
}
