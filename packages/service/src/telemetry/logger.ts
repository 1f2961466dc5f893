import { isSpanContextValid, trace } from '@opentelemetry/api';
import { escapeUnseen, type OnMasked } from '@zerolatency/redaction';
import { type DestinationStream, type Logger, destination as openDestination, pino } from 'pino';
import { Loggable } from './loggable.ts';

export type { Logger };

/** The part of a logger that services write to, so that a test can pass its own. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface LoggerOptions {
  readonly service: string;
  readonly level: string;
  readonly version?: string;
  /** Standard output when absent. */
  readonly destination?: DestinationStream;
  /** Called with each line after it is written. */
  readonly forward?: (line: string) => void;
  /** Called for each secret that a line would have shown. */
  readonly onMasked?: OnMasked;
}

/** Writes one JSON object per line: snake_case keys, secrets masked, the ids of the active span. */
export function createLogger(options: LoggerOptions): Logger {
  const { service, level, version, forward } = options;
  const { destination = openDestination({ dest: 1, sync: false }) } = options;
  const loggable = new Loggable(options.onMasked);
  const logger = pino(
    {
      level,
      base: { service, ...(version === undefined ? {} : { version }) },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => lineOf(loggable.fields(fields)),
      },
      serializers: {
        // formatters.log has masked and bounded it; pino's own serializer would undo that.
        err: (value: unknown) => value,
        msg: (value: unknown) => (typeof value === 'string' ? loggable.text(value) : value),
      },
      mixin: activeSpan,
    },
    seen(destination, forward),
  );
  // pino passes a child's bindings to no formatter, so they are masked on the way in.
  const { child, setBindings } = logger;
  return Object.assign(logger, {
    child(this: Logger, bindings: object, ...rest: unknown[]) {
      return Reflect.apply(child, this, [lineOf(loggable.fields(bindings)), ...rest]);
    },
    setBindings(this: Logger, bindings: object) {
      Reflect.apply(setBindings, this, [lineOf(loggable.fields(bindings))]);
    },
  });
}

/** All programs use the style of keys of OpenTelemetry and of the metric labels. */
function lineOf(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(fields).map(([name, value]) => [snakeCased(name), value]);
  return Object.fromEntries(entries);
}

function snakeCased(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Peers, servers and files have a say in a line, and an operator reads it on a terminal. */
function seen(destination: DestinationStream, forward: (line: string) => void = () => {}) {
  return {
    write(line: string): void {
      const shown = `${escapeUnseen(line.trimEnd())}\n`;
      destination.write(shown);
      forward(shown);
    },
  };
}

function activeSpan(): object {
  const context = trace.getActiveSpan()?.spanContext();
  if (context === undefined || !isSpanContextValid(context)) return {};
  return { trace_id: context.traceId, span_id: context.spanId };
}
