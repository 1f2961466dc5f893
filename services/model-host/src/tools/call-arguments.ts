import { fromUnknown, ZlError } from '@zerolatency/errors';
import { argumentsDigest } from '@zerolatency/receipts';
import { maskJson, maskText, type OnMasked } from '@zerolatency/redaction';
import { canonicalText, type Digest } from '@zerolatency/signing';

/** The arguments of a call as the model wrote them, read once. */
export interface CallArguments {
  readonly value: unknown;
  /** Canonical JSON. */
  readonly text: string;
  readonly digest: Digest;
  /** Canonical JSON, secrets masked. */
  readonly masked: string;
  /** They cannot be read, so the call cannot be made; it has its receipt all the same. */
  readonly error?: ZlError;
}

export function readArguments(
  written: string,
  salt: Uint8Array,
  onMasked?: OnMasked,
): CallArguments {
  try {
    const value: unknown = JSON.parse(written);
    const text = canonicalText(value);
    const masked = canonicalText(maskJson(value, { onMasked }));
    return { value, text, digest: argumentsDigest(salt, Buffer.from(text)), masked };
  } catch (reason) {
    const why = reason instanceof SyntaxError ? 'they are not JSON' : fromUnknown(reason).message;
    return {
      value: undefined,
      text: '',
      digest: argumentsDigest(salt, Buffer.from(written)),
      masked: JSON.stringify(maskText(written, { onMasked }).text),
      error: new ZlError('tool.arguments_invalid', `arguments: ${why}`, { cause: reason }),
    };
  }
}

/** Params of tools/call; canonical, because the name needs no escape and the keys are in order. */
export function toolCallParams(method: string, args: CallArguments): Uint8Array {
  return Buffer.from(`{"arguments":${args.text},"name":"${method}"}`);
}
