// The example of docs/verify.md. As a program it writes it into the page.
import { createPrivateKey, hash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeRecord, type LedgerRecord } from '@zerolatency/ledger';
import { noteVerifierKey, signCheckpoint } from '../../packages/ledger/src/checkpoint.ts';
import { inclusionRanges, proofText } from '../../packages/ledger/src/proof.ts';
import { MerkleFrontier } from '../../packages/ledger/src/tree.ts';
import { argumentsDigest, type Receipt, signReceipt } from '../../packages/receipts/src/index.ts';
import {
  canonicalJson,
  digestOf,
  type Signer,
  signerFromPem,
} from '../../packages/signing/src/index.ts';

export const PAGE = join(import.meta.dirname, '../../docs/verify.md');
const BEGIN = '<!-- The example, written by: node test/outside/worked-example.ts -->\n';
const END = '<!-- End of the example. -->\n';

const ORIGIN = 'example.com/host-1';
const LEDGER_ID = '000102030405060708090a0b0c0d0e0f';
const SALT = 'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf';
const CALL_ID = 'c0c1c2c3c4c5c6c7c8c9cacbcccdcecf';
const ARGUMENTS = { path: 'welcome.txt' };
const STARTED_AT = '2026-01-02T03:04:03.400Z';
/** The record that the proof of the page is about. */
const PROVEN = 4;

const BUNDLE = {
  schema: 'zerolatency.policy/v1',
  id: 'example',
  version: 1,
  issuedAt: '2026-01-01T00:00:00Z',
  expiresAt: '2026-01-31T00:00:00Z',
  rules: [{ id: 'read', effect: 'allow', tools: ['fs.read'], caps: { timeoutMs: 5_000 } }],
};

/** The files of the example by name, and what a reader computes on the way. */
export async function workedExample() {
  const host = signerOf('host');
  const device = signerOf('device');
  const policy = { policyId: 'example@1', policyDigest: digestOf(BUNDLE) };
  const { envelope, payload, bodies } = await bodiesOf(host, device, policy);
  const tree = new MerkleFrontier();
  const leaves: Uint8Array[] = [];
  const lines: string[] = [];
  for (const [index, { kind, body }] of bodies.entries()) {
    const prev = leaves.at(-1) ?? Buffer.alloc(32);
    const at = `2026-01-02T03:04:0${index}.500Z`;
    const record = { v: 2, index, at, prev: hex(prev), synced: index, kind, body };
    const { line, leaf } = encodeRecord(record as LedgerRecord);
    lines.push(line.toString('utf8'));
    leaves.push(leaf);
    tree.push(leaf);
  }
  const checkpoint = { origin: ORIGIN, ledgerId: LEDGER_ID, size: tree.size, root: tree.root() };
  const note = await signCheckpoint(checkpoint, host);
  const bundle = Buffer.from(canonicalJson(BUNDLE)).toString('utf8');
  return {
    ...{ host, device, leaves, note, bundle, policy, envelope, payload },
    segment: lines.join(''),
    root: tree.root(),
    proof: proofOf(leaves, note),
  };
}

async function bodiesOf(host: Signer, device: Signer, policy: object) {
  const digest = argumentsDigest(Buffer.from(SALT, 'hex'), canonicalJson(ARGUMENTS));
  const who = { tenant: 'north', user: 'ann', deviceId: 'laptop', turnId: 'turn-1' };
  const tool = { tool: 'fs.read', toolVersion: '1.0.0', argumentsDigest: digest };
  const facts = { callId: CALL_ID, executor: 'device', ...who, ...tool, ...policy };
  const caps = { timeoutMs: 5_000 };
  const ended = { outcome: 'done', resultDigest: digestOf({ content: 'hello' }) };
  const shared = { ...facts, ...ended, caps, startedAt: STARTED_AT };
  const own = { ...shared, role: 'device', elapsedUs: 1_200 } as Receipt;
  const inner = await signReceipt(own, device);
  const payload = { ...shared, role: 'host', elapsedUs: 2_400, device: inner } as Receipt;
  const envelope = await signReceipt(payload, host);
  const bodies = [
    { kind: 'ledger.opened', body: { ledgerId: LEDGER_ID } },
    { kind: 'host.started', body: { version: '0.2.0' } },
    { kind: 'policy.changed', body: { state: 'active', version: 1, ...policy } },
    { kind: 'call.intent', body: { ...facts, caps, argumentSalt: SALT } },
    {
      kind: 'call.receipt',
      body: { callId: CALL_ID, argumentSalt: SALT, receipt: envelope },
    },
    {
      kind: 'turn',
      body: {
        ...{ ...who, sessionId: 'session-1', outcome: 'done', callIds: [CALL_ID], steps: 2 },
        ...{ inputTokens: 40, outputTokens: 12, startedAt: STARTED_AT },
        endedAt: '2026-01-02T03:04:05.400Z',
      },
    },
  ];
  return { envelope, payload, bodies };
}

function proofOf(leaves: readonly Uint8Array[], note: string): string {
  const hashes = inclusionRanges(PROVEN, leaves.length).map(({ from, to }) => {
    const part = new MerkleFrontier();
    for (const leaf of leaves.slice(from, to)) part.push(leaf);
    return part.root();
  });
  return proofText({ kind: 'inclusion', index: PROVEN, hashes, note });
}

/** Seeds that anyone can make, so that the example can be written anew to the byte. */
function signerOf(name: string): Signer {
  const seed = hash('sha256', `example ${name} key`, 'buffer');
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return signerFromPem(key.export({ type: 'pkcs8', format: 'pem' }).toString());
}

/** SubjectPublicKeyInfo of an Ed25519 key is a constant and the key. */
export function publicPem({ publicKey }: Signer): string {
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey]);
  return `-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`;
}

/** The code block that follows a line with the name in the page. */
export function blockOf(page: string, name: string): string {
  const start = page.indexOf('\n```\n', page.indexOf(`\`${name}\``)) + '\n```\n'.length;
  return page.slice(start, page.indexOf('```\n', start));
}

export async function renderedExample(): Promise<string> {
  const example = await workedExample();
  const { host, device, leaves, note, bundle, policy, envelope, payload, root } = example;
  const signed = Buffer.from(envelope.payload, 'base64');
  const name = `${ORIGIN}/${LEDGER_ID}`;
  const keys = [
    ['`host.pem`', host],
    ['`device.pem`', device],
  ] as const;
  const { device: _, ...shown } = payload;
  const parts = [
    ...keys.flatMap(([file, signer]) => [
      `${file}, key id \`${signer.keyid}\`, the 32 bytes of the key \`${hex(signer.publicKey)}\`:`,
      block(publicPem(signer)),
    ]),
    `\`bundles/${policy.policyDigest.slice('sha256:'.length)}.json\`, without a line feed at its end:`,
    block(`${bundle}\n`),
    '`segment-0000000000000000.jsonl`:',
    block(example.segment),
    'The leaf hashes of its lines, which are also the `prev` of the line after each:',
    block(leaves.map((leaf, index) => `${index}  ${hex(leaf)}\n`).join('')),
    `With L0 to L5 for these, the root is H(H(H(L0,L1),H(L2,L3)),H(L4,L5)), where H(a,b) is SHA-256(0x01 || a || b): \`${hex(root)}\`.`,
    `The key hash of \`host.pem\` under the name \`${name}\` is the first 4 bytes of SHA-256 over the name, 0x0a, 0x01 and the key. As a verifier key of a note:`,
    block(`${noteVerifierKey(name, host)}\n`),
    '`checkpoint`:',
    block(note),
    `The arguments were \`${JSON.stringify(ARGUMENTS)}\`. SHA-256 over the 16 bytes of the salt and these ${JSON.stringify(ARGUMENTS).length} bytes is \`argumentsDigest\` without its prefix. Record 4 holds the host's receipt, whose payload without \`device\` is:`,
    block(`${Buffer.from(canonicalJson(shown)).toString('utf8')}\n`),
    `The signature covers \`DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${signed.length} \` and the ${signed.length} bytes of the payload, whose SHA-256 is \`${hash('sha256', signed)}\`.`,
    '`record-4.tlog-proof`:',
    block(example.proof),
  ];
  return `${parts.join('\n\n')}\n`;
}

function block(text: string): string {
  return `\`\`\`\n${text}\`\`\``;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The page with the example in its place. */
export async function pageWithExample(): Promise<string> {
  const page = readFileSync(PAGE, 'utf8');
  const [before = '', rest = ''] = page.split(BEGIN);
  const [, after = ''] = rest.split(END);
  return `${before}${BEGIN}\n${await renderedExample()}\n${END}${after}`;
}

if (import.meta.main) writeFileSync(PAGE, await pageWithExample());
