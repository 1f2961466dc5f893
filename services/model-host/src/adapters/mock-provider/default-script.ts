import { fileURLToPath } from 'node:url';

/** The script of a host without a configured one. */
export const defaultScriptFile = fileURLToPath(new URL('default-script.yaml', import.meta.url));
