import { count, duration, element, foreign, state, time, timeOfDay } from './elements.js';

const TONES = {
  done: 'good',
  running: 'busy',
  failed: 'bad',
  denied: 'warn',
  cancelled: 'calm',
  unknown: 'bad',
};

const PHASES = {
  admitted: ['tools opened', 'host'],
  planning: ['model', 'model'],
  reflecting: ['model', 'model'],
  critiquing: ['critic', 'model'],
  acting: ['tools called', 'tools'],
  responding: ['recorded', 'host'],
};

/** @typedef {import('../../../../../../contracts/gen/overview.d.ts').ConsoleOverview['turns'][number]} Turn */

/** What a person has opened or closed; otherwise only the latest turn is open. */
const chosen = new Map();

/** @param {readonly Turn[]} turns */
export function showTurns(place, turns) {
  const ids = new Set(turns.map(({ turnId }) => turnId));
  for (const id of chosen.keys()) if (!ids.has(id)) chosen.delete(id);
  const focused = document.activeElement?.closest('.turn')?.id;
  /** @type {HTMLElement[]} */
  const rows = turns.map((turn, index) => turnElement(turn, index === 0));
  if (rows.length === 0) rows.push(element('p.none', 'No turn since this host started.'));
  place.replaceChildren(...rows);
  if (focused) document.getElementById(focused)?.querySelector('summary')?.focus();
}

/** @param {Turn} turn */
function turnElement(turn, isLatest) {
  const head = turnHead(turn);
  const details = document.createElement('details');
  details.className = 'turn';
  details.append(head);
  details.id = `turn-${turn.turnId}`;
  details.open = chosen.get(turn.turnId) ?? isLatest;
  const fill = () => {
    if (details.open && details.children.length === 1) details.append(turnBody(turn));
  };
  fill();
  details.addEventListener('toggle', fill);
  head.addEventListener('click', () => chosen.set(turn.turnId, !details.open));
  return details;
}

/** @param {Turn} turn */
function turnHead(turn) {
  const about = element(
    'span.about',
    time(turn.startedAt, timeOfDay(turn.startedAt)),
    foreign('span.who', turn.user),
    foreign('span.where', turn.deviceId === '' ? 'no device' : turn.deviceId),
    turnState(turn),
  );
  const bars = [...turn.phases.map(phaseBar), ...turn.calls.flatMap(hopsOf)];
  return element('summary', about, track(turn, bars), timeElement(turn.elapsedUs));
}

/**
 * A turn may be done though calls in it were not.
 * @param {Turn} turn
 */
function turnState({ outcome, errorId, calls }) {
  const short = calls.filter((call) => call.outcome !== 'done');
  if (outcome !== 'done' || short.length === 0) {
    return state(`${outcome} ${errorId}`.trim(), TONES[outcome]);
  }
  const words = [...new Set(short.map((call) => call.outcome))].join(', ');
  return state(`done, ${count(short.length, 'call')} ${words}`, 'warn');
}

/** @param {Turn} turn */
function turnBody(turn) {
  const rows = [
    ...turn.phases.map((phase) => ({ at: phase.startUs, rows: [phaseRow(turn, phase)] })),
    ...turn.calls.map((call) => ({ at: call.startUs, rows: callRows(turn, call) })),
  ].sort((a, b) => a.at - b.at);
  const left = turn.callsLeftOut;
  return element(
    'div.body',
    element('div.waterfall', ...rows.flatMap((each) => each.rows)),
    ...(left > 0 ? [element('p.none', `${count(left, 'more call')} not kept here`)] : []),
    facts(turn),
  );
}

/** @param {Turn} turn */
function facts(turn) {
  const recorded = turn.isRecorded ? 'recorded in the ledger' : 'not in the ledger';
  const end = turn.outcome === 'running' ? 'runs' : recorded;
  return element(
    'p.facts',
    foreign('span', `turn ${turn.turnId}`),
    foreign('span', `session ${turn.sessionId}`),
    foreign('span', `tenant ${turn.tenant}`),
    foreign('span', `model ${turn.model}`),
    element(`span${turn.outcome === 'running' || turn.isRecorded ? '' : '.bad'}`, end),
  );
}

function phaseRow(turn, phase) {
  const [label] = PHASES[phase.name];
  return row(element('span.label', label), track(turn, [phaseBar(phase)]), phase.elapsedUs);
}

/** @param {Turn['phases'][number]} phase */
function phaseBar({ name, startUs, elapsedUs, firstPartUs }) {
  const [, colour] = PHASES[name];
  const made = bar(colour, startUs, elapsedUs);
  if (firstPartUs !== undefined) {
    made.element.title = `first part after ${duration(firstPartUs)}`;
  }
  return made;
}

/**
 * The hops of a call, each within the one before. Only their lengths are known, so each lies in the
 * middle of the one before.
 * @param {Turn['calls'][number]} call
 */
function hopsOf(call) {
  const hops = [bar('host', call.startUs, call.totalUs)];
  const within = { relay: call.remoteUs, bridge: call.deviceUs, server: call.serverUs };
  for (const [colour, us] of Object.entries(within)) {
    const outer = hops.at(-1);
    if (us === 0) break;
    hops.push(bar(colour, outer.startUs + Math.max(0, outer.us - us) / 2, us));
  }
  return hops;
}

const HOPS = ['host', 'relay and network', 'bridge', 'MCP server'];

function callRows(turn, call) {
  return hopsOf(call).map((hop, index) => {
    const label =
      index === 0
        ? element('span.label.call', foreign('code', call.tool), ...verdict(call))
        : element('span.label.hop', HOPS[index]);
    return row(label, track(turn, [hop]), hop.us);
  });
}

const DECISIONS = { allow: 'allowed by', deny: 'denied by', escalate: 'needs approval by' };
const RECEIPTS = {
  'host and device': ['receipt of host and device', 'good'],
  host: ['receipt of the host', 'calm'],
  missing: ['no receipt', 'bad'],
};

/** @param {Turn['calls'][number]} call */
function verdict({ outcome, errorId, effect, ruleId, receipt }) {
  const [words, tone] = RECEIPTS[receipt];
  const rule = ruleId === '' ? [] : [element('span.rule', `${DECISIONS[effect]} ${ruleId}`)];
  const end = errorId === '' ? outcome : `${outcome} ${errorId}`;
  return [state(end, TONES[outcome]), ...rule, state(words, tone)];
}

function row(label, bars, us) {
  return element('div.row', label, bars, timeElement(us));
}

function timeElement(us) {
  return element('span.time', duration(us));
}

function bar(colour, startUs, us) {
  return { element: element(`span.bar.${colour}`), startUs, us };
}

function track({ elapsedUs }, bars) {
  const wholeUs = Math.max(elapsedUs, 1);
  const share = (us) => `${(Math.min(1, us / wholeUs) * 100).toFixed(3)}%`;
  for (const { element: made, startUs, us } of bars) {
    made.style.setProperty('left', share(startUs));
    made.style.setProperty('width', share(us));
  }
  return element('span.track', ...bars.map((each) => each.element));
}
