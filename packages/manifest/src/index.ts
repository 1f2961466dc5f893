export { fileDigest, folderDigest } from './folder-digest.ts';
export {
  type BuiltinServer,
  type CommandServer,
  type Manifest,
  type ManifestServer,
  SERVER_MANIFEST,
} from './manifest.ts';
export { unpinnedCode } from './unpinned-code.ts';
