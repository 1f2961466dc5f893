export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** The largest value of the axis; the largest of the lines when it is missing. */
  readonly yMax?: number;
  /** A dashed line across. */
  readonly limit?: number;
  readonly lines: readonly Line[];
}

const WIDTH = 720;
const HEIGHT = 320;
const LEFT = 70;
const RIGHT = 16;
const TOP = 34;
const BOTTOM = 46;
const TICKS = 5;
const LEGEND_STEP = 16;
/** Readable on white and on black. */
const COLOURS = ['#2f81f7', '#d9534f', '#2da44e', '#bf8700', '#8250df'];
const STYLE = `text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.grid{stroke:#8884}.limit{stroke:#888;stroke-dasharray:5 4}polyline{fill:none;stroke-width:1.8}@media (prefers-color-scheme:dark){text{fill:#e6edf3}}`;

/** An SVG that follows the colour scheme of its reader. */
export function svgOf({ title, xLabel, yLabel, yMax, limit, lines }: Plot): string {
  const points = lines.flatMap((line) => line.points);
  const xTop = niceTop(Math.max(1, ...points.map(([x]) => x)));
  const yTop = yMax ?? niceTop(Math.max(1, ...points.map(([, y]) => y)));
  const atX = (x: number) => LEFT + (x / xTop) * (WIDTH - LEFT - RIGHT);
  const atY = (y: number) => HEIGHT - BOTTOM - (y / yTop) * (HEIGHT - TOP - BOTTOM);
  const across = (y: number, kind: string) =>
    `<line class="${kind}" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${fixed(atY(y))}" y2="${fixed(atY(y))}"/>`;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">`,
    `<style>${STYLE}</style>`,
    text({ x: LEFT, y: 18, anchor: 'start', kind: 'title' }, title),
    text({ x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, anchor: 'middle' }, xLabel),
    text({ x: WIDTH - RIGHT, y: 18, anchor: 'end' }, yLabel),
  ];
  for (let tick = 0; tick <= TICKS; tick++) {
    const x = (tick / TICKS) * xTop;
    const y = (tick / TICKS) * yTop;
    parts.push(across(y, 'grid'));
    parts.push(text({ x: LEFT - 8, y: atY(y) + 4, anchor: 'end' }, short(y)));
    parts.push(text({ x: atX(x), y: HEIGHT - BOTTOM + 18, anchor: 'middle' }, short(x)));
  }
  if (limit !== undefined) parts.push(across(limit, 'limit'));
  for (const [index, line] of lines.entries()) {
    const colour = COLOURS[index % COLOURS.length];
    const path = line.points.map(([x, y]) => `${fixed(atX(x))},${fixed(atY(y))}`).join(' ');
    parts.push(`<polyline stroke="${colour}" points="${path}"/>`);
    const y = TOP + 12 + index * LEGEND_STEP;
    parts.push(`<rect x="${WIDTH - 250}" y="${y - 9}" width="12" height="4" fill="${colour}"/>`);
    parts.push(text({ x: WIDTH - 232, y: y - 3, anchor: 'start' }, line.name));
  }
  return `${parts.join('\n')}\n</svg>\n`;
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly anchor: 'start' | 'middle' | 'end';
  readonly kind?: string;
}

function text({ x, y, anchor, kind = '' }: Place, content: string): string {
  return `<text class="${kind}" x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

/** The next of 1, 2, 4, 5 or 8 times a power of ten. */
function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 5, 8, 10].find((step) => step * power >= value) ?? 10) * power;
}

function short(value: number): string {
  if (value >= 1e6) return `${fixed(value / 1e6)}M`;
  return value >= 10_000 ? `${fixed(value / 1000)}k` : fixed(value);
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
