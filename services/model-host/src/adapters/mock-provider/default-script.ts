import { fileURLToPath } from 'node:url';

/** The script for a host that is told of none. */
export const defaultScriptFile = fileURLToPath(new URL('default-script.yaml', import.meta.url));
