// Writes docs/requirements.md from requirements.json; with --check only says whether it is current.
import { readFileSync, writeFileSync } from 'node:fs';

const PATH = 'docs/requirements.md';

const GROUPS: Readonly<Record<string, string>> = {
  HOST: 'Model-host',
  PROV: 'Model providers',
  TOOL: 'Tools',
  POL: 'Policy',
  RED: 'Redaction',
  AUD: 'Audit',
  RLY: 'Tool-relay',
  BRG: 'Device-bridge',
  OBS: 'Observability',
  MEM: 'Memory',
  PRM: 'Prompts',
  KRN: 'Agent kernel',
  MXP: 'Model exchange',
  WRK: 'Workforce',
  WSP: 'Workspaces',
  DAT: 'Data tools',
  LOC: 'Local first',
  OPS: 'Operations',
  CLI: 'Command line',
  SLO: 'Service levels',
};

interface Requirement {
  readonly title: string;
  readonly state: 'planned' | 'partial' | 'done';
  readonly missing?: string;
}

const requirements: Record<string, Requirement> = JSON.parse(
  readFileSync('docs/requirements.json', 'utf8'),
);
const entries = Object.entries(requirements);
const isIn = (group: string) => entries.filter(([id]) => id.startsWith(`${group}-`));
const count = (state: Requirement['state']) =>
  entries.filter(([, requirement]) => requirement.state === state).length;

function row([id, { title, state, missing = '' }]: [string, Requirement]): string {
  return `| ${id} | ${title} | ${state} | ${missing} |`;
}

function section([group, name]: [string, string]): string {
  const rows = isIn(group).map(row).join('\n');
  return `## ${name}\n\n| id | requirement | state | missing |\n|---|---|---|---|\n${rows}\n`;
}

const page = `# Requirements

${count('done')} of the ${entries.length} requirements are done, ${count('partial')} partly, and ${count('planned')} are planned. [requirements.json](requirements.json) names the tests
that prove them; their titles begin with the ids.

Generated from \`docs/requirements.json\` by \`make generate\`.

${Object.entries(GROUPS).map(section).join('\n')}`;

if (process.argv.includes('--check'))
  process.exitCode = readFileSync(PATH, 'utf8') === page ? 0 : 1;
else writeFileSync(PATH, page);
