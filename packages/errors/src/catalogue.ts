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
  'identity.forbidden': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'Use an identity that has the permission which the message names.',
  },
  'limit.exceeded': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: true,
    help: 'Wait and try again, or ask an operator to raise the limit that the message names.',
  },
  ...TURN_ERRORS,
  'tool.unknown': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Use a name that "zl devices" shows.',
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
    help: 'Ask for less, or raise the lowest of caps.timeoutMs in the policy, tools.timeout of the host and limits.callTimeoutMs of the server manifest.',
  },
  'tool.server_down': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The MCP server is not running; "zl status" shows why, with what it printed last.',
  },
  'tool.sandbox_unavailable': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The server manifest requires a sandbox that this device cannot make: install bubblewrap 0.8 or later (apt install bubblewrap) and allow user namespaces; the message says which is missing.',
  },
  'tool.server_protocol': {
    code: 'INTERNAL',
    retryable: false,
    help: 'The MCP server sent messages that are not valid MCP; mend the server. "zl logs" shows what was wrong.',
  },
  'tool.result_too_large': {
    code: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'Ask for less, or raise the lowest of caps.maxBytes in the policy, tools.maxResult of the host and calls.maxResult of the bridge.',
  },
  'fs.outside_roots': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'The path is outside the roots of the server manifest; ask for one inside, or add its root.',
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
    help: 'The range is not UTF-8 text; ask for encoding "auto" or "base64".',
  },
  'policy.denied': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'Policy denies this; "zl policy explain" shows which rules match.',
  },
  'policy.unavailable': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'No valid policy bundle is in force, so tools are denied; "zl policy sign" makes one.',
  },
  'policy.invalid': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Sign the bundle again with "zl policy sign", with a trusted key and a version above the one in force.',
  },
  'clock.behind': {
    code: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Set the clock of this machine. If it was ahead when the later time was seen, write {"reset":true} into the floor file of the document, next to the journal or at policy.stateFile.',
  },
  'device.unknown': {
    code: 'NOT_FOUND',
    retryable: false,
    help: 'Check the device id ("zl devices"); it must belong to your tenant.',
  },
  'device.offline': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The device holds no connection now; start its bridge, or wait for it to reconnect.',
  },
  'device.credential_invalid': {
    code: 'UNAUTHENTICATED',
    retryable: false,
    help: 'A credential that has expired or is not accepted cannot be renewed: enrol the device again ("zl up" does on its own machine), and check that its clock is right.',
  },
  'device.revoked': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'An operator revoked this device. To let it in again, enrol it anew: its credentials of before stay refused.',
  },
  'device.superseded': {
    code: 'ABORTED',
    retryable: true,
    help: 'The same device connected again, and one credential serves one bridge; stop the other bridge, or give it a credential of its own.',
  },
  'directory.degraded': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The relays cannot reach their directory, so this one cannot say where the device is; ask again, and look at Redis ("zl status" names the relay).',
  },
  'call.unknown_outcome': {
    code: 'UNKNOWN',
    retryable: false,
    help: 'The call may or may not have run. Look at the device before you repeat it.',
  },
  'call.cancelled': {
    code: 'CANCELLED',
    retryable: true,
    help: 'The call was cancelled before it finished; look at the device before you repeat one with effects.',
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
    help: 'The list in force stays. Provide one with a higher version, signed by a key of revocations.keysDir.',
  },
  'revocations.unavailable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'No device is admitted until there is a valid revocation list; the component report of the relay or host says why there is none.',
  },
  'installation.busy': {
    code: 'ABORTED',
    retryable: true,
    help: 'Another zl command is starting or stopping this installation; run this one when it has finished.',
  },
  'installation.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'A program of the installation does not start or does not become ready; "zl logs" shows what it said.',
  },
  'ledger.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'No turn and no call may begin without the ledger; free space on its disk, or mend what the message names. A host that runs goes on by itself.',
  },
  'ledger.corrupt': {
    code: 'DATA_LOSS',
    retryable: false,
    help: 'Restore the folder of the ledger from a copy, and restart the host. Until then it refuses tools, and does not record chats.',
  },
  'journal.failed': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The bridge cannot write its journal of calls, so no tool runs; free space on the disk of its state directory.',
  },
  'journal.corrupt': {
    code: 'DATA_LOSS',
    retryable: false,
    help: 'The journal of calls was damaged, deleted or replaced, and the bridge makes a new one. A damaged one is kept beside it, with arguments and results of calls: delete it once nobody needs it. Calls that were under way are unknown: look at the device before you repeat them. Check the disk.',
  },
  'receipt.invalid': {
    code: 'DATA_LOSS',
    retryable: false,
    help: 'A signature or digest of the receipt does not verify; trust it no further, and "zl audit verify" checks the ledger it belongs to.',
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
    help: 'The state of the server does not allow this request; change what the message names, and try again.',
  },
  'operation.cancelled': {
    code: 'CANCELLED',
    retryable: false,
    help: 'The operation was cancelled before it finished, and may have taken effect; check before you repeat it.',
  },
  'peer.unavailable': {
    code: 'UNAVAILABLE',
    retryable: true,
    help: 'The server, or a proxy before it, takes no requests now; try again later and check its health.',
  },
  'peer.lost': {
    code: 'ABORTED',
    retryable: false,
    help: 'The connection broke before the answer came, so the request may have taken effect; check before you repeat it.',
  },
  'peer.timeout': {
    code: 'DEADLINE_EXCEEDED',
    retryable: false,
    help: 'No answer came in time, so the request may have taken effect; check before you repeat it.',
  },
  'enrolment.refused': {
    code: 'PERMISSION_DENIED',
    retryable: false,
    help: 'The code is mistyped, used or expired; make another with "zl devices invite".',
  },
  'enrolment.proof_invalid': {
    code: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'Enrol at the address that the invitation names, with the clock of the device set by NTP.',
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
    help: 'This is a defect; report it with its message and, where one is shown, its trace id.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorId = keyof typeof CATALOGUE;

export function isErrorId(text: string): text is ErrorId {
  return Object.hasOwn(CATALOGUE, text);
}
