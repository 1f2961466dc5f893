import { Code } from '@connectrpc/connect';

interface Entry {
  readonly code: Code;
  /** The same request may succeed later, unchanged, without risk of a second effect. */
  readonly retryable: boolean;
  readonly help: string;
}

/**
 * Every error the system tells anyone. An id never changes its meaning and is
 * never removed: it is a metric label, a documentation anchor and what
 * programs branch on.
 */
export const catalogue = {
  'request.invalid': {
    code: Code.InvalidArgument,
    retryable: false,
    help: 'Correct the field that the message names.',
  },
  'request.too_large': {
    code: Code.ResourceExhausted,
    retryable: false,
    help: 'Send less; the message names the limit.',
  },
  'identity.missing': {
    code: Code.Unauthenticated,
    retryable: false,
    help: 'Send "authorization: Bearer <token>" with a token of a configured issuer.',
  },
  'identity.invalid': {
    code: Code.Unauthenticated,
    retryable: false,
    help: 'Get a new token; check issuer, audience, expiry and that its key is in the key set.',
  },
  'identity.forbidden': {
    code: Code.PermissionDenied,
    retryable: false,
    help: 'This identity may not do this; use one that may.',
  },
  'limit.exceeded': {
    code: Code.ResourceExhausted,
    retryable: true,
    help: 'Wait and try again, or have the limit that the message names raised.',
  },
  'budget.steps': {
    code: Code.ResourceExhausted,
    retryable: false,
    help: 'The model asked for more steps than max_steps allows; raise it or ask for less at once.',
  },
  'budget.depth': {
    code: Code.ResourceExhausted,
    retryable: false,
    help: 'Tool calls nested deeper than max_tool_depth; raise it if that is intended.',
  },
  'budget.tokens': {
    code: Code.ResourceExhausted,
    retryable: false,
    help: 'The turn would exceed its token budget; raise it or shorten the conversation.',
  },
  'budget.time': {
    code: Code.DeadlineExceeded,
    retryable: true,
    help: 'The turn ran longer than its wall-clock limit; raise timeout_ms or ask for less at once.',
  },
  'turn.cancelled': {
    code: Code.Canceled,
    retryable: true,
    help: 'The client cancelled the turn or left.',
  },
  'turn.busy': {
    code: Code.FailedPrecondition,
    retryable: true,
    help: 'Wait for the running turn of this stream to end, or cancel it.',
  },
  'server.draining': {
    code: Code.Unavailable,
    retryable: true,
    help: 'This pod is shutting down; connect again to reach another.',
  },
  'provider.failed': {
    code: Code.Unavailable,
    retryable: true,
    help: 'The model provider failed; see the host log for its answer.',
  },
  'provider.unparsable': {
    code: Code.Internal,
    retryable: true,
    help: 'The model produced tool calls that could not be read, also after recovery.',
  },
  'provider.unknown_model': {
    code: Code.NotFound,
    retryable: false,
    help: 'Use a model alias that the host configuration names.',
  },
  'tool.unknown': {
    code: Code.NotFound,
    retryable: false,
    help: 'Check the name against the device catalog (zl devices).',
  },
  'tool.arguments_invalid': {
    code: Code.InvalidArgument,
    retryable: false,
    help: 'Correct the field that the message names; the schema is in contracts/tools.',
  },
  'tool.result_invalid': {
    code: Code.Internal,
    retryable: false,
    help: 'The tool broke its own result schema; the message names the field. Fix the tool.',
  },
  'tool.failed': {
    code: Code.Unknown,
    retryable: false,
    help: 'The tool ran and reported an error; its message says which.',
  },
  'tool.timeout': {
    code: Code.DeadlineExceeded,
    retryable: false,
    help: 'The tool did not finish in time; raise caps.timeoutMs in the policy or ask for less.',
  },
  'tool.server_down': {
    code: Code.Unavailable,
    retryable: true,
    help: 'The MCP server is not running; see "zl devices" and the bridge log.',
  },
  'tool.server_protocol': {
    code: Code.Internal,
    retryable: false,
    help: 'The MCP server wrote something that is not MCP, or too much; see the bridge log.',
  },
  'tool.result_too_large': {
    code: Code.ResourceExhausted,
    retryable: false,
    help: 'Ask for a smaller range, or raise caps.maxBytes in the policy.',
  },
  'fs.outside_roots': {
    code: Code.PermissionDenied,
    retryable: false,
    help: 'The path leaves the roots in the server manifest.',
  },
  'fs.not_regular': {
    code: Code.InvalidArgument,
    retryable: false,
    help: 'Only regular files can be read.',
  },
  'fs.not_found': {
    code: Code.NotFound,
    retryable: false,
    help: 'Check the path; it must exist and be readable by the bridge.',
  },
  'fs.not_text': {
    code: Code.InvalidArgument,
    retryable: false,
    help: 'The range is not UTF-8 text; ask for encoding "auto" or "base64".',
  },
  'policy.denied': {
    code: Code.PermissionDenied,
    retryable: false,
    help: 'Policy says no; "zl policy explain" shows the rule.',
  },
  'policy.unavailable': {
    code: Code.FailedPrecondition,
    retryable: false,
    help: 'No valid policy bundle: tools are denied. Sign and install a fresh bundle.',
  },
  'policy.invalid': {
    code: Code.FailedPrecondition,
    retryable: false,
    help: 'The bundle is unsigned, altered, expired, older than one seen before, or malformed.',
  },
  'device.unknown': {
    code: Code.NotFound,
    retryable: false,
    help: 'Check the device id ("zl devices"); it must belong to your tenant.',
  },
  'device.offline': {
    code: Code.Unavailable,
    retryable: true,
    help: 'The device holds no connection now; start its bridge or wait.',
  },
  'device.credential_invalid': {
    code: Code.Unauthenticated,
    retryable: false,
    help: 'Enrol the device again; check that its clock is right.',
  },
  'device.superseded': {
    code: Code.Aborted,
    retryable: true,
    help: 'The same device connected again; if that was not you, revoke its credential.',
  },
  'call.unknown_outcome': {
    code: Code.Unknown,
    retryable: false,
    help: 'The call may or may not have run. Look at the device before you repeat it.',
  },
  'call.cancelled': {
    code: Code.Canceled,
    retryable: true,
    help: 'The call was cancelled before it finished.',
  },
  'relay.unreachable': {
    code: Code.Unavailable,
    retryable: true,
    help: 'No relay answers; check relay health and the host configuration relay.urls.',
  },
  'host.unreachable': {
    code: Code.Unavailable,
    retryable: true,
    help: 'No host answers; "zl status" shows what runs, and "make up" starts it on this machine.',
  },
  'host.lost': {
    code: Code.Unavailable,
    retryable: false,
    help: 'A host cancels the turns of a lost client; "zl audit show" tells which calls had been made.',
  },
  'frame.malformed': {
    code: Code.InvalidArgument,
    retryable: false,
    help: 'The peer does not speak this protocol; check versions on both sides.',
  },
  'frame.too_large': {
    code: Code.ResourceExhausted,
    retryable: false,
    help: 'Split the payload; the limit was told in WELCOME.',
  },
  'config.invalid': {
    code: Code.InvalidArgument,
    retryable: false,
    help: 'Correct the setting that the message names.',
  },
  'manifest.invalid': {
    code: Code.FailedPrecondition,
    retryable: false,
    help: 'The server manifest or a file it names is not what was signed, or is older than one before: sign it again, as a higher version, with a key of servers.keysDir.',
  },
  'installation.busy': {
    code: Code.Aborted,
    retryable: true,
    help: 'Another zl command starts or stops this installation; run this one again when it has ended.',
  },
  'ledger.failed': {
    code: Code.Unavailable,
    retryable: true,
    help: 'The ledger cannot be written, so nothing may run; check its disk.',
  },
  'ledger.corrupt': {
    code: Code.DataLoss,
    retryable: false,
    help: 'A record was altered, lost or reordered; the message names the first bad one.',
  },
  'receipt.invalid': {
    code: Code.DataLoss,
    retryable: false,
    help: 'A signature or digest of the receipt does not hold.',
  },
  internal: {
    code: Code.Internal,
    retryable: false,
    help: 'A defect. Report it with the trace id.',
  },
} as const satisfies Record<string, Entry>;

export type ErrorId = keyof typeof catalogue;

export function isErrorId(text: string): text is ErrorId {
  return Object.hasOwn(catalogue, text);
}
