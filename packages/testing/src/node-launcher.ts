import { fileURLToPath } from 'node:url';

/** Node for manifests of tests: see there. */
export const nodeLauncher = fileURLToPath(new URL('../bin/node', import.meta.url));
