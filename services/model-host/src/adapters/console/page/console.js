import { count, day, element, foreign, fromNow, state, time, timeOfDay } from './elements.js';
import { showTurns } from './turns.js';

/** @typedef {import('../../../../../../contracts/gen/overview.d.ts').ConsoleOverview} Overview */
/** @typedef {Overview['devices']['list'][number]} Device */

const REFRESH_MS = 5_000;
const SOON_MS = 7 * 86_400_000;
const TONES = { ok: 'good', degraded: 'warn', down: 'bad' };
const SERVER_TONES = { ready: 'good', starting: 'warn', failed: 'bad', unknown: 'calm' };
const LINK_TONES = { live: 'good', idle: 'calm', dialling: 'warn', draining: 'warn' };

const place = (id) => document.getElementById(id);
/** Undefined: whoever had the latest turn. */
let asked;

async function load(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(REFRESH_MS) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function refresh() {
  const query = new URLSearchParams();
  if (asked !== undefined) {
    query.set('tenant', asked.tenant);
    query.set('user', asked.user);
    for (const role of asked.roles) query.append('role', role);
  }
  try {
    const [health, overview] = await Promise.all([
      load('/health'),
      load(`/console/overview.json?${query}`),
    ]);
    const nowMs = Date.parse(overview.at);
    showSummary(health);
    const { at, policy, links, devices } = /** @type {Overview} */ (overview);
    const minute = at.slice(0, 16);
    shown('topology', [health.components, policy, links, devices, minute], () =>
      showTopology(health, overview, nowMs),
    );
    shown('subject', [overview.subject, overview.subjects], () => showSubjects(overview));
    shown('devices', [devices, policy, minute], () => showDevices(overview, nowMs));
    shown('turns', overview.turns, () => showTurns(place('turns'), overview.turns));
  } catch (reason) {
    // What was shown stays, and is said to be old.
    place('summary').replaceChildren(state(`no answer: ${reason.message}`, 'bad'));
  }
}

const last = new Map();

/** Only what has changed is drawn anew, so that a page one reads does not move. */
function shown(name, content, draw) {
  const text = JSON.stringify(content, (key, value) => (key === 'latencyMs' ? undefined : value));
  if (last.get(name) === text) return;
  last.set(name, text);
  draw();
}

function showSummary({ service, version, state: phase, status }) {
  const word = phase === 'ready' ? status : phase;
  place('summary').replaceChildren(
    state(word, TONES[word] ?? 'warn'),
    foreign('span', `${service} ${version}`),
    element('span', `at ${timeOfDay(Date.now())}`),
  );
}

function showTopology({ service, components }, { links, devices, policy }, nowMs) {
  const host = components.map((each) => {
    const { name, status, detail, error } = each;
    const why = error?.message ?? detail ?? '';
    return item(foreign('span', name), foreign('span.detail', why), state(status, TONES[status]));
  });
  const relays = links.map((link) =>
    item(
      foreign('span', hostOf(link.url)),
      element('span.detail', `${count(link.devices, 'device')} open`),
      state(link.state, LINK_TONES[link.state] ?? 'bad'),
    ),
  );
  const ends = devices.list.map(({ deviceId, servers, isRevoked }) => {
    const failed = servers.filter((server) => server.state !== 'ready').length;
    const tone = isRevoked || failed > 0 ? 'warn' : 'good';
    const word = isRevoked ? 'revoked' : failed > 0 ? `${failed} not ready` : 'connected';
    return item(
      foreign('span', deviceId),
      element('span.detail', count(servers.length, 'server')),
      state(word, tone),
    );
  });
  const rules =
    policy.state === 'none' ? 'no policy' : `policy ${policy.name}, ${count(policy.rules, 'rule')}`;
  place('topology').replaceChildren(
    card(service, rules, host),
    card('relays', 'links of this host', relays, 'No link: none was needed yet.'),
    card('devices', 'of this tenant', ends, devices.error?.message ?? 'None is connected.'),
    expiriesOf(components, nowMs),
  );
}

function card(title, note, items, none = '') {
  const list = items.length === 0 ? foreign('p.none', none) : element('ul', ...items);
  return element('article.card', element('h3', title, foreign('small', note)), list);
}

function item(...children) {
  return element('li', ...children);
}

function hostOf(url) {
  return URL.canParse(url) ? new URL(url).host : url;
}

function expiriesOf(components, nowMs) {
  const dated = components
    .filter(({ expiresAt }) => expiresAt !== undefined)
    .sort((a, b) => Date.parse(a.expiresAt) - Date.parse(b.expiresAt));
  const items = dated.map(({ name, expiresAt }) => {
    const leftMs = Date.parse(expiresAt) - nowMs;
    const tone = leftMs <= 0 ? 'bad' : leftMs < SOON_MS ? 'warn' : 'good';
    const when = time(expiresAt, day(expiresAt));
    return item(
      foreign('span', name),
      element('span.detail', when),
      state(fromNow(expiresAt, nowMs), tone),
    );
  });
  const made = card('expiries', 'soonest first', items, 'Nothing that this host uses expires.');
  made.classList.add('expiries');
  return made;
}

/** @param {Overview} shown */
function showSubjects({ subject, subjects }) {
  const known = new Map([...subjects, subject].map((each) => [JSON.stringify(each), each]));
  const options = [...known].map(([value, { tenant, user, roles }]) => {
    const words = [user || 'anyone', tenant, roles.join(', ')].filter((word) => word !== '');
    return new Option(words.join(' · '), value, false, value === JSON.stringify(subject));
  });
  place('subject').replaceChildren(...options, new Option('someone else …', ''));
}

/** @param {Overview} shown */
function showDevices({ devices, subject, policy }, nowMs) {
  const cards = devices.list.map((device) => deviceElement(device, nowMs));
  if (devices.error !== undefined) {
    cards.push(foreign('p.notice', `The devices are unknown: ${devices.error.message}`));
  } else if (cards.length === 0) {
    const who =
      subject.tenant === '' ? 'Choose a tenant.' : `No device of ${subject.tenant} is connected.`;
    cards.push(foreign('p.none', who));
  }
  if (devices.hasMore)
    cards.push(element('p.none', 'There are more; ./zl devices lists them all.'));
  if (policy.state !== 'active') {
    const word =
      policy.state === 'none'
        ? 'There is no policy bundle'
        : `The policy bundle is ${policy.state}`;
    cards.unshift(element('p.notice', `${word}, so tools are denied.`));
  }
  place('devices').replaceChildren(...cards);
}

/** @param {Device} shown */
function deviceElement(
  { deviceId, relayId, bridgeVersion, connectedAt, isRevoked, servers },
  nowMs,
) {
  const since = connectedAt === undefined ? [] : [`connected ${fromNow(connectedAt, nowMs)}`];
  const about = [...since, `bridge ${bridgeVersion}`, `on ${relayId}`].join(' · ');
  const revoked = isRevoked ? [state('revoked', 'bad')] : [];
  return element(
    'article.card.device',
    element('h3', foreign('span', deviceId), ...revoked, foreign('small', about)),
    ...servers.map(serverElement),
  );
}

/** @param {Device['servers'][number]} shown */
function serverElement({ name, version, state: word, containment, isUnpinned, tools }) {
  const held = containment === 'unknown' ? [] : [`held by ${containment}`];
  const about = [version, ...held, ...(isUnpinned ? ['code not pinned'] : [])].join(' · ');
  const head = element(
    'p.server-head',
    foreign('span', name),
    foreign('small', about),
    state(word, SERVER_TONES[word]),
  );
  return element('div', head, element('ul.tools', ...tools.map(toolElement)));
}

/** @param {Device['servers'][number]['tools'][number]} shown */
function toolElement({ name, description, effects, decision }) {
  const acts = { none: 'reads only', some: 'has effects', unknown: 'effects unknown' }[effects];
  return item(
    foreign('code', name),
    foreign('span.detail', description),
    element('span.acts', acts),
    verdictOf(decision),
  );
}

function verdictOf({ effect, ruleId, reason, isByPath }) {
  if (effect === 'allow') {
    const words = isByPath ? 'allowed by path' : 'allowed';
    return element('span.verdict', state(words, 'good'), foreign('small', ruleId));
  }
  const words = effect === 'escalate' ? 'needs approval' : 'denied';
  return element('span.verdict', state(words, 'warn'), foreign('small', reason));
}

const choice = /** @type {HTMLSelectElement} */ (place('subject'));
choice.addEventListener('change', () => {
  place('other').hidden = choice.value !== '';
  if (choice.value === '') return;
  asked = JSON.parse(choice.value);
  refresh();
});

const form = /** @type {HTMLFormElement} */ (place('asked'));
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const given = new FormData(form);
  const text = (name) => String(given.get(name)).trim();
  const roles = text('roles')
    .split(',')
    .map((role) => role.trim());
  asked = {
    tenant: text('tenant'),
    user: text('user'),
    roles: roles.filter((role) => role !== ''),
  };
  refresh();
});

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, REFRESH_MS);
}

document.addEventListener('visibilitychange', () => document.hidden || refresh());
await keepFresh();
