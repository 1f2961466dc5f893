import { ForeignText, foreignText } from '@zerolatency/redaction';
import { lexer, type MarkedToken, type Token, type Tokens } from 'marked';
import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';
import type { Paint } from '../terminal.ts';

/** A longer block is shown as it was written, and a longer line of code in pieces. */
const MAX_BLOCK_CHARS = 16 * 1024;
/** The parser takes quadratic time and more for marks without a partner. */
const MAX_MARKS = 1_000;
const MARK = /[*_`[\]<>~&]|\d[.)] |[-+] /g;
/** It recurses for each level of lists and quotes. */
const NESTED_TOO_DEEP = /(?:[ \t]{0,8}(?:\d{1,9}[.)] |[-+*] |>)){20}/;

const FENCE = /^ {0,3}(?<marks>`{3,}(?=[^`\n]*\n)|~{3,})[^\n]*\n/;
const RULE_CHARS = 40;

/** Text of which each line is final: code, or what is not rendered. */
interface Verbatim {
  readonly endsWith: RegExp | undefined;
  readonly show: (line: string) => string;
}

const ALL_PLAIN: Verbatim = { endsWith: undefined, show: (line) => line };
const PLAIN_BLOCK: Verbatim = { endsWith: /^\s*$/, show: (line) => line };

/** A model's Markdown that arrives in pieces, as lines for a terminal. */
export class Markdown {
  readonly #paint: Paint;
  readonly #first: Verbatim | undefined;
  readonly #foreign = new ForeignText();
  #source = '';
  #verbatim: Verbatim | undefined;
  #hasBlocks = false;
  #open: readonly string[] = [];

  /** Without colours the Markdown itself shows best what is meant. */
  constructor({ paint, isColoured }: { readonly paint: Paint; readonly isColoured: boolean }) {
    this.#paint = paint;
    this.#first = isColoured ? undefined : ALL_PLAIN;
    this.#verbatim = this.#first;
  }

  push(text: string): void {
    this.#source += this.#foreign.push(text);
  }

  /** The lines that have become final. */
  take(columns: number): string[] {
    return this.#settle(columns, false);
  }

  /** The lines after those of the last `take`, which may still change. */
  get open(): readonly string[] {
    return this.#open;
  }

  /** The rest. It is then ready for another text. */
  end(columns: number): string[] {
    this.#source += this.#foreign.end();
    const lines = this.#settle(columns, true);
    this.#verbatim = this.#first;
    this.#hasBlocks = false;
    return lines;
  }

  #settle(columns: number, isEnd: boolean): string[] {
    const lines: string[] = [];
    this.#open = [];
    while (this.#source !== '') {
      if (this.#verbatim !== undefined) {
        lines.push(...this.#verbatimLines(this.#verbatim, isEnd));
        if (this.#verbatim !== undefined) break;
      } else if (this.#beginsFence()) {
        lines.push(...this.#gap());
      } else {
        const blocks = this.#completeBlocks(columns, isEnd);
        if (blocks === undefined) break;
        lines.push(...blocks);
      }
    }
    return lines;
  }

  /** An empty line before each block but the first. */
  #gap(): string[] {
    const gap = this.#hasBlocks ? [''] : [];
    this.#hasBlocks = true;
    return gap;
  }

  #beginsFence(): boolean {
    const [opening, marks = ''] = FENCE.exec(this.#source) ?? [];
    if (opening === undefined) return false;
    this.#source = this.#source.slice(opening.length);
    this.#verbatim = {
      endsWith: new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`),
      show: (line) => this.#code(line),
    };
    return true;
  }

  #verbatimLines({ endsWith, show }: Verbatim, isEnd: boolean): string[] {
    const lines: string[] = [];
    let at = 0;
    for (;;) {
      const end = this.#source.indexOf('\n', at);
      const isCut = end === -1 && (isEnd || this.#source.length - at > MAX_BLOCK_CHARS);
      if (end === -1 && !isCut) break;
      const line = end === -1 ? this.#source.slice(at) : this.#source.slice(at, end);
      at += line.length + 1;
      if (endsWith?.test(line)) {
        this.#verbatim = undefined;
        break;
      }
      if (line !== '' || end !== -1) lines.push(show(line));
      if (end === -1) break;
    }
    this.#source = this.#source.slice(at);
    if (this.#verbatim !== undefined && this.#source !== '') this.#open = [show(this.#source)];
    return lines;
  }

  /** Every block of whole lines but the last is complete. Undefined when none is. */
  #completeBlocks(columns: number, isEnd: boolean): string[] | undefined {
    const head = renderable(this.#source);
    const isWhole = head.length === this.#source.length;
    const isLast = isWhole && isEnd;
    const lines = isLast ? head : head.slice(0, head.lastIndexOf('\n') + 1);
    const tokens = parse(lines);
    // Before what is too large, an empty line is the end of a block.
    const isClosed = isLast || (!isWhole && /\n[ \t]*\n$/.test(lines));
    const end = isClosed ? tokens.length : tokens.findLastIndex(({ type }) => type !== 'space');
    const fence = tokens.findIndex((each) => each.type === 'code' && !each.codeBlockStyle);
    // It is then taken line by line.
    const complete = tokens.slice(0, Math.max(0, fence > 0 ? Math.min(fence, end) : end));
    if (complete.length > 0) {
      const chars = complete.reduce((sum, { raw }) => sum + raw.length, 0);
      this.#source = this.#source.slice(chars);
      return complete.flatMap((token) => this.#spaced(this.#block(token, columns)));
    }
    if (!isWhole) {
      this.#verbatim = PLAIN_BLOCK;
      return this.#gap();
    }
    if (isLast) this.#source = '';
    const shown = parse(head).flatMap((token) => this.#block(token, columns));
    this.#open = this.#hasBlocks && shown.length > 0 ? ['', ...shown] : shown;
    return undefined;
  }

  #spaced(lines: readonly string[]): string[] {
    return lines.length === 0 ? [] : [...this.#gap(), ...lines];
  }

  #block(token: MarkedToken, width: number): string[] {
    switch (token.type) {
      case 'space':
      case 'checkbox':
        return [];
      case 'heading':
        return wrapped(this.#paint('bold', this.#inline(token.tokens)), width);
      case 'paragraph':
        return wrapped(this.#inline(token.tokens), width);
      case 'text':
        return wrapped(this.#inline(token.tokens ?? [token]), width);
      case 'code':
        return token.text.split('\n').map((line) => this.#code(foreignText(line)));
      case 'hr':
        return [this.#paint('dim', '─'.repeat(Math.min(width, RULE_CHARS)))];
      case 'blockquote':
        return this.#blocks(token.tokens, width - 2).map(
          (line) => `${this.#paint('dim', '│')} ${line}`,
        );
      case 'list':
        return this.#list(token, width);
      case 'table':
        return this.#table(token);
      default:
        return foreignText(token.raw).trimEnd().split('\n');
    }
  }

  #blocks(tokens: readonly Token[], width: number): string[] {
    return tokens.filter(isBuiltIn).flatMap((token) => this.#block(token, Math.max(width, 20)));
  }

  #code(line: string): string {
    return `  ${this.#paint('cyan', line)}`;
  }

  #list({ items, ordered, start }: Tokens.List, width: number): string[] {
    return items.flatMap(({ tokens, checked, loose }, index) => {
      const number = ordered ? `${Number(start) + index}. ` : '• ';
      // In a loose list it is part of the paragraph.
      const box = checked === undefined || loose ? '' : checkbox(checked);
      const bullet = `${number}${box}`;
      const lines = this.#blocks(tokens, width - bullet.length);
      const indent = ' '.repeat(bullet.length);
      return (lines.length === 0 ? [''] : lines).map((line, at) =>
        at === 0 ? `${bullet}${line}` : `${indent}${line}`,
      );
    });
  }

  #table({ header, rows, align }: Tokens.Table): string[] {
    const cells = [header, ...rows].map((row) => row.map(({ tokens }) => this.#inline(tokens)));
    const widths = header.map((_, at) =>
      Math.max(...cells.map((row) => stringWidth(row[at] ?? ''))),
    );
    const [head = '', ...body] = cells.map((row) =>
      row.map((cell, at) => padded(cell, widths[at] ?? 0, align[at] ?? 'left')).join('  '),
    );
    const rule = widths.map((width) => '─'.repeat(width)).join('  ');
    return [this.#paint('bold', head), this.#paint('dim', rule), ...body].map((line) =>
      line.trimEnd(),
    );
  }

  #inline(tokens: readonly Token[]): string {
    return tokens
      .filter(isBuiltIn)
      .map((token) => this.#span(token))
      .join('');
  }

  #span(token: MarkedToken): string {
    switch (token.type) {
      case 'strong':
        return this.#paint('bold', this.#inline(token.tokens));
      case 'em':
        return this.#paint('italic', this.#inline(token.tokens));
      case 'del':
        return this.#paint('strikethrough', this.#inline(token.tokens));
      case 'codespan':
        return this.#paint('cyan', foreignText(token.text));
      case 'br':
        return '\n';
      case 'checkbox':
        return checkbox(token.checked);
      case 'link':
      case 'image':
        return this.#link(token);
      case 'text':
        if (token.tokens !== undefined) return this.#inline(token.tokens);
        // The parser has replaced character references, such as that of an escape.
        return foreignText(token.text);
      case 'escape':
        return foreignText(token.text);
      default:
        return foreignText(token.raw);
    }
  }

  /** A person sees where a link leads. */
  #link({ tokens, href }: Tokens.Link | Tokens.Image): string {
    const words = this.#inline(tokens);
    const target = foreignText(href);
    const shown = this.#paint('underline', target);
    return words === '' || words === target || target === `mailto:${words}`
      ? shown
      : `${words} (${shown})`;
  }
}

/** The beginning that the parser can take, which need not be a whole block. */
function renderable(source: string): string {
  let head = source.slice(0, MAX_BLOCK_CHARS);
  while ((head.match(MARK)?.length ?? 0) > MAX_MARKS || NESTED_TOO_DEEP.test(head)) {
    head = head.slice(0, head.length / 2);
  }
  return head;
}

function parse(source: string): MarkedToken[] {
  return lexer(source).filter(isBuiltIn);
}

function checkbox(isChecked: boolean): string {
  return isChecked ? '[x] ' : '[ ] ';
}

/** Others come from extensions, of which there are none. */
function isBuiltIn(token: Token): token is MarkedToken {
  return token.type !== '';
}

/** A long word stays whole, so that the terminal still finds its links. */
function wrapped(text: string, width: number): string[] {
  return wrapAnsi(text, width).split('\n');
}

function padded(cell: string, width: number, align: 'left' | 'right' | 'center'): string {
  const space = width - stringWidth(cell);
  const before = { left: 0, right: space, center: Math.floor(space / 2) }[align];
  return ' '.repeat(before) + cell + ' '.repeat(space - before);
}
