import { count, duration, element, foreign, state, timeOfDay } from './elements.js';

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
  acting: ['tools called', 'tools'],
  responding: ['recorded', 'host'],
};

/** Those that a person has opened, and the latest one until it is closed. */
const toggled = new Map();

export function showTurns(place, turns) {
  const rows = turns.map((turn, index) => turnElement(turn, index === 0));
  if (rows.length === 0) rows.push(element('p.none', 'No turn since this host started.'));
  place.replaceChildren(...rows);
}

function turnElement(turn, isLatest) {
  const details = element('details.turn', turnHead(turn));
  details.open = toggled.get(turn.turnId) ?? isLatest;
  details.dataset.turn = turn.turnId;
  const fill = () => {
    if (details.open && details.children.length === 1) details.append(turnBody(turn));
  };
  fill();
  details.addEventListener('toggle', () => {
    toggled.set(turn.turnId, details.open);
    fill();
  });
  return details;
}

function turnHead(turn) {
  const when = element('time', timeOfDay(turn.startedAt));
  when.dateTime = turn.startedAt;
  return element(
    'summary',
    when,
    foreign('span.who', turn.user),
    foreign('span.where', turn.deviceId === '' ? 'no device' : turn.deviceId),
    turnState(turn),
    track(turn, turn.phases.map(phaseBar).concat(turn.calls.map(callBar))),
    element('span.time', duration(turn.elapsedUs)),
  );
}

/** A turn may be done though calls in it were not. */
function turnState({ outcome, errorId, calls }) {
  const short = calls.filter((call) => call.outcome !== 'done');
  if (outcome !== 'done' || short.length === 0) {
    return state(`${outcome} ${errorId}`.trim(), TONES[outcome]);
  }
  const words = [...new Set(short.map((call) => call.outcome))].join(', ');
  return state(`done, ${count(short.length, 'call')} ${words}`, 'warn');
}

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

function phaseBar({ name, startUs, elapsedUs, firstPartUs }) {
  const [, colour] = PHASES[name];
  const made = bar(colour, startUs, elapsedUs);
  if (firstPartUs !== undefined) {
    made.element.title = `first part after ${duration(firstPartUs)}`;
  }
  return made;
}

function callBar({ startUs, totalUs }) {
  return bar('host', startUs, totalUs);
}

/** The hops of a call, each within the one before. Only their lengths are known, so each lies in the middle. */
function callRows(turn, call) {
  const label = element('span.label.call', foreign('code', call.tool), ...verdict(call));
  const rows = [row(label, track(turn, [callBar(call)]), call.totalUs)];
  let outer = { startUs: call.startUs, us: call.totalUs };
  for (const [colour, name, us] of [
    ['relay', 'relay and network', call.remoteUs],
    ['bridge', 'bridge', call.deviceUs],
    ['server', 'MCP server', call.serverUs],
  ]) {
    if (us === 0) break;
    const startUs = outer.startUs + Math.max(0, outer.us - us) / 2;
    outer = { startUs, us };
    rows.push(row(element('span.label.hop', name), track(turn, [bar(colour, startUs, us)]), us));
  }
  return rows;
}

const RECEIPTS = {
  'host and device': ['receipt of host and device', 'good'],
  host: ['receipt of the host', 'calm'],
  missing: ['no receipt', 'bad'],
};

function verdict({ outcome, errorId, effect, ruleId, receipt }) {
  const [words, tone] = RECEIPTS[receipt];
  const rule = ruleId === '' ? [] : [element('span.rule', `${effect} by ${ruleId}`)];
  const end = errorId === '' ? outcome : `${outcome} ${errorId}`;
  return [state(end, TONES[outcome]), ...rule, state(words, tone)];
}

function row(label, bars, us) {
  return element('div.row', label, bars, element('span.time', duration(us)));
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
