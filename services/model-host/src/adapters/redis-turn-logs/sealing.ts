import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';

export interface SealingKey {
  readonly id: string;
  readonly secret: string;
}

/** Turns bytes into what Redis stores, and back. An entry opens only in the place it was sealed for. */
export interface Seal {
  close(bytes: Uint8Array, place: string): string;
  /** @throws chat.events_lost for anything that no pod has sealed for this place. */
  open(stored: string, place: string): Uint8Array;
}

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** HKDF does not strengthen a short secret. */
export const MIN_SECRET_BYTES = 32;

/** Without keys the content is stored as it is. */
export class Sealing {
  readonly #keys: readonly SealingKey[];

  constructor(keys: readonly SealingKey[]) {
    this.#keys = keys;
    const weak = keys.find(({ secret }) => Buffer.byteLength(secret) < MIN_SECRET_BYTES);
    if (weak !== undefined) {
      const reason = `the secret of ${weak.id} is shorter than ${MIN_SECRET_BYTES} bytes`;
      throw new ZlError('config.invalid', `turnLog.sealing: ${reason}`);
    }
  }

  /**
   * A turn has a key of its own, so random nonces are safe: 2^32 are allowed for a key, and a turn
   * has some thousand batches.
   */
  of(tenant: string, turnId: string): Seal {
    const [first] = this.#keys;
    if (first === undefined) return PLAIN;
    const derived = new Map<string, Buffer>();
    const keyOf = ({ id, secret }: SealingKey): Buffer => {
      const known = derived.get(id);
      if (known !== undefined) return known;
      const info = JSON.stringify([tenant, turnId]);
      const bytes = hkdfSync('sha256', secret, 'zerolatency turn log v1', info, KEY_BYTES);
      const key = Buffer.from(bytes);
      derived.set(id, key);
      return key;
    };
    return {
      close: (bytes, place) => `${first.id}.${encrypt(keyOf(first), bytes, place)}`,
      open: (stored, place) => {
        const dot = stored.indexOf('.');
        const key = this.#keys.find(({ id }) => id === stored.slice(0, dot));
        if (key === undefined) throw unreadable();
        return decrypt(keyOf(key), stored.slice(dot + 1), place);
      },
    };
  }
}

const PLAIN: Seal = {
  close: (bytes) => `.${Buffer.from(bytes).toString('base64')}`,
  open: (stored) => {
    if (!stored.startsWith('.')) throw unreadable();
    return Buffer.from(stored.slice(1), 'base64');
  },
};

function encrypt(key: Buffer, bytes: Uint8Array, place: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(place));
  const sealed = Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  return sealed.toString('base64');
}

function decrypt(key: Buffer, stored: string, place: string): Uint8Array {
  const sealed = Buffer.from(stored, 'base64');
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw unreadable();
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(Buffer.from(place)).setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    const text = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
    return Buffer.concat([text, decipher.final()]);
  } catch {
    throw unreadable();
  }
}

function unreadable(): ZlError {
  return new ZlError('chat.events_lost', 'events of the turn are sealed with a key unknown here');
}
