export { fileDigest, folderDigest } from './folder-digest.ts';
export {
  type BuiltinServer,
  type CommandServer,
  type Manifest,
  type ManifestServer,
  SERVER_MANIFEST,
  serversOf,
} from './manifest.ts';
export { isBelow, pathsOutsideSandbox, SYSTEM_PATHS } from './sandbox-view.ts';
export { unpinnedCode } from './unpinned-code.ts';
