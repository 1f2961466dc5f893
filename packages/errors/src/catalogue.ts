import type { CatalogueEntry } from './entry.ts';
import { TURN_ERRORS } from './turn-errors.ts';

export type { ErrorCode } from './entry.ts';

/**
 * Every error the system reports. An id never changes its meaning and is never
 * removed: it is a metric label, a documentation anchor and what programs
 * branch on.
 */
export const CATALOGUE = {
  'request.invalid': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'Correct the field that the message names.',
  },
  'request.too_large': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'Send less; the message names the limit.',
  },
  'identity.missing': {
    code: 'UNAUTHENTICATED',
    retryable: false,
    help: 'Send "authorization: Bearer <token>" with a token of a configured issuer.',
  },
  'identity.invalid': {
    code: 'UNAUTHENTICATED',
    retryable: false,
    help: 'Get a new token; check issuer, audience, expiry and that its key is in the key set.',
  },
  'identity.unavailable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The host has no valid key set of the token\'s issuer; retry later. Operators: the component "identity keys" of /health shows why.',
  },
  'identity.forbidden': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'Use an identity with the permission that the message names.',
  },
  'egress.refused': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'A name or URL leads to a private, loopback or other special address. Correct it, or add its network to the setting that the message names.',
  },
  'limit.exceeded': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: true,
    help: 'Retry later, or ask an operator to raise the limit that the message names.',
  },
  ...TURN_ERRORS,
  'tool.unknown': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Use a tool name that "zl devices" lists.',
  },
  'tool.arguments_invalid': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'Correct the field that the message names.',
  },
  'tool.result_invalid': {
    code: 'INTERNAL',
    retryable: false,
    help: 'The result does not match the schema of the tool; the message names the field. Fix the tool.',
  },
  'tool.failed': {
    code: 'UNKNOWN',
    retryable: false,
    help: 'The tool ran and reported an error; do what its message says.',
  },
  'tool.timeout': {
    code: 'DEADLINE_EXCEEDED',
    retryable: false,
    help: 'Request less, or raise the lowest of caps.timeoutMs in the policy, tools.timeout of the host and limits.callTimeoutMs in the server manifest.',
  },
  'tool.server_down': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The MCP server is not running; "zl status" shows why, with its last output.',
  },
  'tool.sandbox_unavailable': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The server manifest requires a sandbox, which this device cannot create: install bubblewrap 0.8 or later (apt install bubblewrap) and allow user namespaces; the message names what is missing.',
  },
  'tool.server_protocol': {
    code: 'INTERNAL',
    retryable: false,
    help: 'The MCP server sent messages that are not valid MCP; fix the server. "zl logs" shows what was invalid.',
  },
  'tool.result_too_large': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'Request less, or raise the lowest of caps.maxBytes in the policy, tools.maxResult of the host and calls.maxResult of the bridge.',
  },
  'fs.outside_roots': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'The path is outside the roots in the server manifest; use a path inside them, or add its root.',
  },
  'fs.not_regular': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'Only regular files can be read; check the path.',
  },
  'fs.not_found': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Check the path; it must exist and be readable by the bridge.',
  },
  'fs.not_text': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'The range is not UTF-8 text; use the encoding "auto" or "base64".',
  },
  'policy.denied': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'Policy denies this; "zl policy explain" shows which rules match.',
  },
  'policy.unavailable': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'No valid policy bundle is active, so tools are denied; sign one with "zl policy sign" and install it.',
  },
  'policy.invalid': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Sign the bundle again with "zl policy sign", with a trusted key and a higher version than the active one.',
  },
  'clock.behind': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Correct the clock of this machine. If the clock was ahead before and is right now, write {"reset":true} into the floor file of the document, next to the journal or at policy.stateFile.',
  },
  'device.unknown': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Check the device id ("zl devices"); it must belong to your tenant.',
  },
  'device.offline': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The device is not connected; start its bridge, or wait for it to reconnect.',
  },
  'device.credential_invalid': {
    code: 'UNAUTHENTICATED',
    retryable: false,
    help: 'Check the clock of the device, and enrol it again ("zl up" does so on its own machine): a credential that is expired or not accepted cannot be renewed.',
  },
  'device.revoked': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'An operator revoked this device. To admit it again, enrol it again; its earlier credentials stay revoked.',
  },
  'device.superseded': {
    code: 'ABORTED',
    retryable: true,
    help: 'Another bridge connected with the same device id; stop one of the two bridges, or enrol it as a device of its own.',
  },
  'directory.degraded': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The relay cannot reach its directory, so it cannot locate the device; retry, and check Redis ("zl status" names the relay).',
  },
  'call.unknown_outcome': {
    code: 'UNKNOWN',
    retryable: false,
    help: 'The call may or may not have run. Check the device before you repeat it.',
  },
  'call.cancelled': {
    code: 'CANCELLED',
    retryable: true,
    help: 'The call was cancelled before it finished; if its tool has effects, check the device before you repeat it.',
  },
  'relay.unreachable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'No relay answers; "zl doctor" names the hop that fails.',
  },
  'host.unreachable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'No host answers; "zl up" starts it on this machine, and "zl doctor" names the hop that fails.',
  },
  'host.lost': {
    code: 'UNAVAILABLE',
    retryable: false,
    help: 'The connection to the host broke, and the host cancelled the turn; "zl audit show" lists the calls it had made.',
  },
  'frame.malformed': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'The peer does not speak this protocol; check versions on both sides.',
  },
  'frame.too_large': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'Split the payload; WELCOME names the limit.',
  },
  'proxy.refused': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'Check the address and credentials of the proxy (relay.proxy, or HTTPS_PROXY), and that it allows the address that the message names.',
  },
  'stream.not_found': {
    code: 'NOT_FOUND',
    retryable: true,
    help: 'The HTTP stream has ended, and the bridge opens another. Behind a balancer, send all requests of a device to one pod.',
  },
  'config.invalid': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'Correct the setting that the message names.',
  },
  'file.unusable': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Restore the file or folder that the message names, and let this user read and write it.',
  },
  'port.unusable': {
    code: 'FAILED_PRECONDITION',
    retryable: true,
    help: 'Set another port in the configuration, or stop the program that listens on this one.',
  },
  'manifest.invalid': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The server manifest or a file it names differs from what was signed, or a newer manifest was seen before. Sign it again with a higher version and a key of servers.keysDir.',
  },
  'revocations.invalid': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The active list stays. Provide one with a higher version, signed by a key in revocations.keysDir.',
  },
  'revocations.unavailable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'No device is admitted until there is a valid revocation list; "zl status" shows why there is none.',
  },
  'installation.busy': {
    code: 'ABORTED',
    retryable: true,
    help: 'Another zl command is starting or stopping this installation; run this command after it has finished.',
  },
  'installation.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'A program of the installation does not start or does not become ready; "zl logs" shows its output.',
  },
  'ledger.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'No call can begin without the ledger, and no turn where it is in files. Free space on its disk, or fix what the message names; a running host then recovers by itself.',
  },
  'ledger.corrupt': {
    code: 'DATA_LOSS',
    retryable: false,
    help: "Restore the ledger's folder from a copy, and restart the host. Until then it refuses tools and does not record chats.",
  },
  'postgres.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'Check that PostgreSQL runs at the address of postgres.url, accepts its user, and has space on its disk. Programs that run connect again by themselves.',
  },
  'journal.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The bridge cannot write its journal of calls, so no tool runs; free space on the disk of its state directory.',
  },
  'journal.corrupt': {
    code: 'DATA_LOSS',
    retryable: false,
    help: 'The journal of calls was damaged, deleted or replaced, and the bridge creates a new one. Running calls become unknown: check the device before you repeat them. Check the disk. The bridge keeps a damaged journal beside the new one; it holds arguments and results of calls, so delete it when nobody needs it.',
  },
  'receipt.invalid': {
    code: 'DATA_LOSS',
    retryable: false,
    help: 'A signature or digest of the receipt does not verify; do not trust the receipt, and check its ledger with "zl audit verify".',
  },
  'request.unimplemented': {
    code: 'UNIMPLEMENTED',
    retryable: false,
    help: 'The server does not know this method; check the address and the versions on both sides.',
  },
  'request.not_found': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'The server does not have what the message names; check the name and the address.',
  },
  'request.conflict': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The state of the server does not allow this request; change what the message names, and retry.',
  },
  'operation.cancelled': {
    code: 'CANCELLED',
    retryable: false,
    help: 'The operation was cancelled before it finished, and may have taken effect; check before you repeat it.',
  },
  'peer.unavailable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The server, or a proxy in front of it, accepts no requests now; retry later, and check its health.',
  },
  'peer.lost': {
    code: 'ABORTED',
    retryable: false,
    help: 'The connection broke before the response arrived, so the request may have taken effect; check before you repeat it.',
  },
  'peer.timeout': {
    code: 'DEADLINE_EXCEEDED',
    retryable: false,
    help: 'No response arrived in time, so the request may have taken effect; check before you repeat it.',
  },
  'enrolment.refused': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'The code is mistyped, used, expired or revoked; create another with "zl devices invite".',
  },
  'enrolment.proof_invalid': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: "Enrol at the address that the invitation names, and synchronise the device's clock (NTP).",
  },
  'enrolment.exists': {
    code: 'ALREADY_EXISTS',
    retryable: false,
    help: 'This folder holds an enrolled device; name another with --state, or enrol it again with --force.',
  },
  'kms.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The key management service did not sign; correct what the message names. Devices keep their credentials, and renew them once it signs again.',
  },
  'registrar.unreachable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'Check the address, that a registrar runs there, and that --ca names the authority of its certificate.',
  },
  internal: {
    code: 'INTERNAL',
    retryable: false,
    help: 'This is a defect; report it with its message and its trace id, if one is shown.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorId = keyof typeof CATALOGUE;

export function isErrorId(text: string): text is ErrorId {
  return Object.hasOwn(CATALOGUE, text);
}
