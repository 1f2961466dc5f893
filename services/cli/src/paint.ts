import { styleText } from 'node:util';
import type { Terminal } from './terminal.ts';

type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style, text: string) => string;

/** Colours only on a terminal, and never with NO_COLOR. */
export function paintFor({ stdout, env }: Terminal): Paint {
  const coloured = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  return coloured
    ? (style, text) => styleText(style, text, { validateStream: false })
    : (_, text) => text;
}
