import { parseSync, Visitor } from 'oxc-parser';

/** One small change that a test should notice. */
export interface Mutation {
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

const OPERATORS: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '&&': '||',
  '||': '&&',
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '%': '*',
  '+=': '-=',
  '-=': '+=',
  '++': '--',
  '--': '++',
};

/** A lost log line or metric harms nobody's call. */
const OBSERVING =
  /^(?:await )?(?:[\w.#?]*\b(?:log|logger|metrics)\b[\w.#?]*|[\w.#?]+\.(?:inc|observe|set))\(/;

/** Every mutation of a TypeScript source, in the order of its places. */
export function mutationsOf(path: string, source: string): readonly Mutation[] {
  const found: Mutation[] = [];
  const text = ({ start, end }: Span) => source.slice(start, end);
  const add = ({ start, end }: Span, ...replacements: string[]) => {
    for (const replacement of replacements) found.push({ start, end, replacement });
  };
  /** Replaces the operator between two operands. */
  const swap = (left: Span, right: Span, operator: string) => {
    const replacement = OPERATORS[operator];
    const at = source.indexOf(operator, left.end);
    if (replacement === undefined || at < 0 || at >= right.start) return;
    add({ start: at, end: at + operator.length }, replacement);
  };
  /** Conditions are replaced whole, which a swapped equality would only repeat. */
  const conditions = new Set<Span>();
  const addCondition = (test: Span) => {
    conditions.add(test);
    add(test, 'true', 'false');
  };
  const { program, errors } = parseSync(path, source);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`);
  new Visitor({
    BinaryExpression(node) {
      const isText = [node.left, node.right].some((side) => /^['"`]/.test(text(side)));
      const isRepeated = conditions.has(node) && /^[!=]==$/.test(node.operator);
      if (!isRepeated && !(isText && node.operator === '+')) {
        swap(node.left, node.right, node.operator);
      }
    },
    LogicalExpression: (node) => swap(node.left, node.right, node.operator),
    AssignmentExpression: (node) => swap(node.left, node.right, node.operator),
    UpdateExpression(node) {
      const at = node.prefix ? node.start : node.end - 2;
      add({ start: at, end: at + 2 }, OPERATORS[node.operator] ?? '');
    },
    UnaryExpression(node) {
      if (node.operator === '!') add(node, text(node.argument));
    },
    AwaitExpression: (node) => add(node, text(node.argument)),
    IfStatement: (node) => addCondition(node.test),
    ConditionalExpression: (node) => addCondition(node.test),
    ExpressionStatement(node) {
      if (node.directive == null && !OBSERVING.test(text(node))) add(node, '{}');
    },
    ReturnStatement(node) {
      if (node.argument === null) add(node, '{}');
      else if (node.argument.type === 'Literal') addOtherLiteral(node.argument);
      else add(node.argument, 'undefined');
    },
    ArrowFunctionExpression(node) {
      if (node.expression) add(node.body, 'undefined');
    },
  }).visit(program);
  return found
    .filter((mutation) => text(mutation) !== mutation.replacement)
    .sort((a, b) => a.start - b.start || a.end - b.end);

  function addOtherLiteral(literal: Span & { readonly value?: unknown }): void {
    if (typeof literal.value === 'boolean') add(literal, String(!literal.value));
    else add(literal, 'undefined');
  }
}

export function mutated(source: string, { start, end, replacement }: Mutation): string {
  return `${source.slice(0, start)}${replacement}${source.slice(end)}`;
}
