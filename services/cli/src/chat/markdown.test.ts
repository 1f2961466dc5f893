import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters, styleText } from 'node:util';
import fc from 'fast-check';
import type { Paint } from '../terminal.ts';
import { Markdown } from './markdown.ts';

const paint: Paint = (style, text) => styleText(style, text, { validateStream: false });

function linesOf(pieces: readonly string[], { columns = 40, isColoured = true } = {}): string[] {
  const markdown = new Markdown({ paint: isColoured ? paint : (_, text) => text, isColoured });
  const lines = pieces.flatMap((piece) => {
    markdown.push(piece);
    return markdown.take(columns);
  });
  return [...lines, ...markdown.end(columns)];
}

const plain = (lines: readonly string[]) => lines.map(stripVTControlCharacters).join('\n');

test('renders the blocks that models write', () => {
  const source = `## Steps
1. first *thing*
   with more of it than fits one line
2. second
   - nested \`code\`
- [x] done

> said
> so

| name | size |
|:-----|-----:|
| a    | 12 |
| bb 👋 | 3 |

---
a ~~b~~ <i>c</i> \\*d\\* https://e.test
`;
  assert.equal(
    plain(linesOf([source])),
    `Steps

1. first thing
   with more of it than fits one line
2. second
   • nested code

• [x] done

│ said
│ so

name   size
─────  ────
a        12
bb 👋     3

────────────────────────────────────────

a b <i>c</i> *d* https://e.test`,
  );
});

test('a fence of code is final line by line, whatever it contains', () => {
  const markdown = new Markdown({ paint, isColoured: true });
  markdown.push('````md\n```js\n# no heading\n');
  assert.equal(plain(markdown.take(40)), '  ```js\n  # no heading');
  markdown.push('```\n````\nand **so** on');
  assert.equal(plain(markdown.take(40)), '  ```');
  assert.equal(plain(markdown.open), '\nand so on');
  assert.equal(plain(markdown.end(40)), '\nand so on');
});

test('shows where a link leads', () => {
  assert.equal(
    plain(linesOf(['[https://bank.test](https://evil.test "x") ![i](p.png)'], { columns: 80 })),
    'https://bank.test (https://evil.test) i (p.png)',
  );
});

test('without colours shows the text as it was written', () => {
  const source = '# a\n\n\n**b** `c`\n```\nd\n```';
  assert.equal(linesOf([source], { isColoured: false }).join('\n'), source);
});

test('[RED-01] character references cannot bring back what the text was rid of', () => {
  const hidden = ['&#27;[2J', '&#x9b;1A', '&#x202e;', '&#8203;', '&#7;'];
  for (const reference of hidden) {
    const everywhere = [
      `${reference}a **${reference}b** \`${reference}\` [${reference}](${reference})\n\n`,
      `# ${reference}\n\n- ${reference}\n\n> ${reference}\n\n|${reference}|\n|-|\n|${reference}|\n\n`,
      `\`\`\`${reference}\n${reference}\n\`\`\`\n    ${reference}\n`,
    ];
    const lines = linesOf(everywhere, { isColoured: false }).concat(linesOf(everywhere));
    // Our own colours are the only control sequences.
    const shown = stripVTControlCharacters(lines.join('\n'));
    assert.doesNotMatch(shown, /[^\P{Cc}\n]|[\u202e\u200b]/u, reference);
    assert.doesNotMatch(lines.join(''), new RegExp(`${String.fromCharCode(27)}\\[(?!\\d*m)`));
  }
});

test('marks without partners, and blocks nested without end, are shown as they are', () => {
  const hostile = ['_a*', '>', '1. ', '[', '![', '<a', '~~a', '- [ ] '];
  for (const part of hostile) {
    const source = part.repeat(5_000);
    assert.equal(linesOf([source]).join('\n').trimEnd(), source.trimEnd(), part);
  }
});

test('a block too large to parse does not change how those around it are shown', () => {
  const source = `# one\n\n${'_a*'.repeat(5_000)}\n\n${'> '.repeat(50)}deep\n\n# two\n\n${'word\n\n'.repeat(5_000)}`;
  const lines = linesOf([source]);
  assert.equal(lines[0], paint('bold', 'one'));
  assert.equal(lines[2]?.length, 15_000);
  assert.ok(lines.includes(paint('bold', 'two')));
  assert.equal(lines.filter((line) => line === 'word').length, 5_000);
});

test('a block that grows without end is not kept', () => {
  const markdown = new Markdown({ paint, isColoured: true });
  let shown = 0;
  for (let i = 0; i < 100; i++) {
    markdown.push('word '.repeat(1_000));
    shown += markdown.take(80).join('').length;
    assert.ok(markdown.open.join('').length < 64 * 1024);
  }
  assert.ok(shown > 400_000, `${shown} of 500000`);
});

const prose = fc.constantFrom(
  ...[
    'word ',
    '*',
    '**',
    '`',
    '\n',
    '\n\n',
    '- ',
    '1. ',
    '# ',
    '> ',
    '```\n',
    '```',
    '| a ',
    '|-|',
  ],
  ...['[a](b)', '&#27;', '\u001b[2J', '    ', '---\n', 'é', '👋', '\t'],
);

test('what arrives in pieces is shown as what arrives at once', () => {
  fc.assert(
    fc.property(fc.array(prose, { maxLength: 40 }), (pieces) => {
      // A control sequence split over two pieces is not recognised in either.
      assert.deepEqual(linesOf(pieces), linesOf([pieces.join('')]));
    }),
    { numRuns: 500 },
  );
});

test('nothing of what a model says is lost', () => {
  const words = fc.array(fc.constantFrom('alpha', 'beta', '*gamma*', '`delta`'), { minLength: 1 });
  const blocks = fc.array(
    fc
      .tuple(fc.constantFrom('', '- ', '# ', '> ', '1. ', '    '), words)
      .map(([mark, said]) => mark + said.join(' ')),
  );
  fc.assert(
    fc.property(blocks, (parts) => {
      const letters = (text: string) => text.replace(/[^a-z]/g, '');
      assert.equal(letters(plain(linesOf([parts.join('\n\n')]))), letters(parts.join('')));
    }),
  );
});
