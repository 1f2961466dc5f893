import { ZlError } from '@zerolatency/errors';
import { foreignLine } from '@zerolatency/redaction';
import {
  openingLine,
  type Surroundings,
  surroundingsOf,
  type TurnChoice,
  toolsOf,
} from '../chat/surroundings.ts';
import type { Layout } from '../installation/layout.ts';
import type { Settings } from '../settings.ts';
import { paintFor, print, reportFailure, type Terminal } from '../terminal.ts';

const NO_DEVICE = 'none';

/** A path begins with a slash too. */
const COMMAND = /^\/(?<name>[a-z]+)(?: +(?<argument>\S+))?\s*$/;

const HELP: readonly (readonly [usage: string, what: string])[] = [
  ['/help', 'this list'],
  ['/tools', 'the tools of the device'],
  ['/model [alias]', 'the models, or the one to use from now on'],
  ['/device [id]', `the devices, or the one to use from now on; "${NO_DEVICE}" for none`],
  ['/why [turn or call]', 'why it ended as it did; the last turn of this conversation by default'],
  ['/exit', 'end the conversation, as Ctrl-D does'],
];

export interface Place {
  readonly layout: Layout;
  readonly settings: Settings;
}

/** What a person tells `zl` rather than the model. */
export class SlashCommands {
  readonly #terminal: Terminal;
  readonly #place: Place;
  readonly #choice: TurnChoice;
  lastTurnId = '';

  constructor(terminal: Terminal, place: Place, choice: TurnChoice) {
    this.#terminal = terminal;
    this.#place = place;
    this.#choice = choice;
  }

  /** Undefined for what is a message. A failure is printed, and the conversation goes on. */
  async run(text: string): Promise<'leave' | 'done' | undefined> {
    const { name, argument = '' } = COMMAND.exec(text)?.groups ?? {};
    if (name === undefined) return undefined;
    if (name === 'exit') return 'leave';
    try {
      await this.#run(name, argument);
    } catch (reason) {
      reportFailure(this.#terminal, reason);
    }
    return 'done';
  }

  async printOpening(): Promise<void> {
    const line = openingLine(await surroundingsOf(this.#place.settings), this.#choice);
    const keys = 'Ctrl-C cancels a turn, Ctrl-D exits, /help lists commands.';
    const paint = paintFor(this.#terminal);
    print(this.#terminal, `${paint('bold', line)}\n${paint('dim', keys)}`);
  }

  async #run(name: string, argument: string): Promise<void> {
    switch (name) {
      case 'help':
        return this.#list(HELP);
      case 'tools':
        return this.#tools(await this.#around());
      case 'model':
        return this.#model(await this.#around(), argument);
      case 'device':
        return this.#device(await this.#around(), argument);
      case 'why':
        return await this.#why(argument);
      default:
        throw new ZlError('request.invalid', `there is no command /${name}; /help lists them`);
    }
  }

  #around(): Promise<Surroundings> {
    return surroundingsOf(this.#place.settings);
  }

  #tools({ devices }: Surroundings): void {
    const { deviceId } = this.#choice;
    if (!Array.isArray(devices)) throw devices;
    const device = devices.find((each) => each.deviceId === deviceId);
    const why = deviceId === '' ? 'no device, and so no tools' : `${deviceId} is not connected`;
    if (device === undefined) print(this.#terminal, foreignLine(`  ${why}`));
    else this.#list(toolsOf(device).map(({ name, description }) => [name, description]));
  }

  #model({ models }: Surroundings, alias: string): void {
    if (alias !== '') {
      if (models.length > 0 && !models.includes(alias)) {
        const known = `the host has ${models.join(', ')}`;
        throw new ZlError('provider.unknown_model', `no model alias "${alias}"; ${known}`);
      }
      this.#choice.model = alias;
    }
    if (models.length === 0) print(this.#terminal, '  the host does not say which models it has');
    const used = this.#choice.model || models[0];
    this.#list(models.map((each) => [each, each === used ? 'in use' : '']));
  }

  #device({ devices }: Surroundings, id: string): void {
    if (id === NO_DEVICE) this.#choice.deviceId = '';
    else if (!Array.isArray(devices)) throw devices;
    else if (devices.some(({ deviceId }) => deviceId === id)) this.#choice.deviceId = id;
    else if (id !== '') throw new ZlError('device.offline', `device ${id} is not connected`);
    if (id !== '') this.#choice.isDeviceNamed = true;
    const used = this.#choice.deviceId;
    const connected = Array.isArray(devices) ? devices.map(({ deviceId }) => deviceId) : [];
    this.#list([
      ...connected.map((each): [string, string] => [each, each === used ? 'in use' : '']),
      ...(used !== '' && !connected.includes(used)
        ? [[used, 'in use, not connected'] as const]
        : []),
      [NO_DEVICE, used === '' ? 'in use' : ''],
    ]);
  }

  async #why(argument: string): Promise<void> {
    const subject = argument || this.lastTurnId;
    if (subject === '') {
      print(this.#terminal, '  no turn in this conversation yet');
      return;
    }
    const { why } = await import('./why.ts');
    await why(this.#terminal, this.#place.layout, { subject });
  }

  #list(rows: readonly (readonly [name: string, what: string])[]): void {
    const width = Math.max(...rows.map(([name]) => foreignLine(name).length));
    for (const [name, what] of rows) {
      print(this.#terminal, `  ${foreignLine(name).padEnd(width)}  ${foreignLine(what)}`.trimEnd());
    }
  }
}
