export { RegistrarClient } from './registrar-client.ts';
export {
  MAX_REVOKED_DEVICES,
  REVOCATION_LIST,
  type RevocationList,
} from './revocation-list.ts';
export {
  type CredentialFacts,
  expectRevocations,
  type RevocationFigures,
  type RevocationFiles,
  type Revocations,
  watchRevocations,
} from './revocations.ts';
