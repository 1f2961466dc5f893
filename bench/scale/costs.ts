/** A constant of the model, and where it comes from. */
export interface Constant {
  readonly name: keyof Costs;
  readonly value: number;
  readonly unit: 'us';
  /** How it was measured; an assumption says so. */
  readonly source: string;
}

/** What things cost, in microseconds of one core. */
export interface Costs {
  /** A connection that is accepted and cut before TLS. */
  readonly refuse: number;
  /** TLS, upgrade and challenge. */
  readonly tls: number;
  /** Hello, credential, proof, lease and welcome, without the directory's store. */
  readonly proof: number;
  /** A ping and its pong. */
  readonly heartbeat: number;
  /** CALL, OUTCOME and ACK of one call. */
  readonly call: number;
  /** One lease in a pipelined batch, on the pod. */
  readonly renewOnPod: number;
  /** One operation of the directory, on the Redis that executes it. */
  readonly redisAcquire: number;
  readonly redisRenew: number;
  readonly redisLocate: number;
  readonly redisRelease: number;
  /** What the dialling side spends; only the validation has to know. */
  readonly clientTls: number;
  readonly clientProof: number;
}

export function costsOf(constants: readonly Constant[]): Costs {
  const value = (name: keyof Costs): number => {
    const found = constants.find((constant) => constant.name === name);
    if (found === undefined) throw new Error(`the constant ${name} is missing`);
    return found.value;
  };
  return {
    refuse: value('refuse'),
    tls: value('tls'),
    proof: value('proof'),
    heartbeat: value('heartbeat'),
    call: value('call'),
    renewOnPod: value('renewOnPod'),
    redisAcquire: value('redisAcquire'),
    redisRenew: value('redisRenew'),
    redisLocate: value('redisLocate'),
    redisRelease: value('redisRelease'),
    clientTls: value('clientTls'),
    clientProof: value('clientProof'),
  };
}
