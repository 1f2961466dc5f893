import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { signPeerToken } from '@zerolatency/identity';
import { makeEnrolment, type TestDevice, tempDir } from '@zerolatency/testing';
import { decodeProtectedHeader, SignJWT } from 'jose';
import { LOCAL } from '../../services/cli/src/installation/local.ts';
import { DeviceClient } from '../../services/tool-relay/test/device-client.ts';
import { openSocket } from '../../services/tool-relay/test/frame-socket.ts';
import { HostClient } from '../../services/tool-relay/test/host-client.ts';
import { configOf } from './effects.ts';
import type { Lifetime, System } from './system.ts';

interface Enrolled {
  readonly deviceId?: string;
  /** Instead of the key of the installation's authority. */
  readonly key?: KeyObject;
  readonly issuer?: string;
  readonly expiresInS?: number;
}

interface Claimed {
  readonly name?: string;
  readonly audience?: string;
  readonly nowMs?: number;
}

/** Devices and hosts that dial an installed relay directly, with its installation's credentials. */
export class RelayPeers {
  readonly #t: Lifetime;
  readonly #system: System;
  readonly #url: string;
  readonly #ca: string;

  static async of(t: Lifetime, system: System): Promise<RelayPeers> {
    const { sockets } = await configOf(system.layout.relay.config);
    return new RelayPeers(t, system, `wss://localhost:${sockets.port}/v1`);
  }

  private constructor(t: Lifetime, system: System, url: string) {
    this.#t = t;
    this.#system = system;
    this.#url = url;
    this.#ca = readFileSync(system.layout.authority.cert, 'utf8');
  }

  device(): DeviceClient {
    const client = new DeviceClient(openSocket(`${this.#url}/device`, { ca: this.#ca }));
    this.#t.after(() => client.native.terminate());
    return client;
  }

  link(token: string): HostClient {
    const headers = { authorization: `Bearer ${token}` };
    const client = new HostClient(openSocket(`${this.#url}/link`, { ca: this.#ca, headers }));
    this.#t.after(() => client.native.terminate());
    return client;
  }

  /** The HTTP status of the refusal of a link with this token. */
  refusalOf(token: string): Promise<number | undefined> {
    const { native } = this.link(token);
    return new Promise((resolve, reject) => {
      native.once('open', () => reject(new Error('the link was accepted')));
      native.once('unexpected-response', (request, response) => {
        resolve(response.statusCode);
        request.destroy();
      });
    });
  }

  async token({ name = 'model-host', ...claimed }: Claimed = {}): Promise<string> {
    const files = this.#system.layout.tls(name);
    const [cert, key] = await Promise.all([readText(files.cert), readText(files.key)]);
    return signPeerToken({ cert, key }, { audience: 'relay-1', nowMs: Date.now(), ...claimed });
  }

  async enrol(enrolled: Enrolled = {}): Promise<TestDevice> {
    const { deviceId = 'another', issuer = LOCAL.enrolmentIssuer, expiresInS = 3600 } = enrolled;
    const { layout } = this.#system;
    const own = createPrivateKey(await readText(layout.registrar.issuerKey));
    const enrolment = await makeEnrolment(tempDir(this.#t), { issuer });
    const device = await enrolment.device({ deviceId, tenant: LOCAL.tenant });
    const { kty, crv, x } = device.key.publicJwk;
    const { kid } = decodeProtectedHeader(await readText(layout.device.credential));
    const nowS = Math.floor(Date.now() / 1000);
    const credential = await new SignJWT({ tenant: LOCAL.tenant, cnf: { jwk: { kty, crv, x } } })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-device+jwt', kid: `${kid}` })
      .setIssuer(issuer)
      .setSubject(deviceId)
      .setIssuedAt(nowS - 7200)
      .setExpirationTime(nowS + expiresInS)
      .sign(enrolled.key ?? own);
    return { ...device, credential };
  }

  /** A device with a live session. */
  async live(deviceId: string): Promise<DeviceClient> {
    const client = this.device();
    await client.prove(await this.enrol({ deviceId }));
    await client.welcome();
    return client;
  }
}

function readText(file: string): Promise<string> {
  return readFile(file, 'utf8');
}
