import { fileURLToPath } from 'node:url';

/** Starts Node for the manifests of tests; the script says why. */
export const nodeLauncher = fileURLToPath(new URL('../bin/node', import.meta.url));
