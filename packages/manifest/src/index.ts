export { type Manifest, type ManifestServer, SERVER_MANIFEST } from './manifest.ts';
