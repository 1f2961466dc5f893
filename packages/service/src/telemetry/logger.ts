import { isSpanContextValid, trace } from '@opentelemetry/api';
import type { OnMasked } from '@zerolatency/redaction';
import { type DestinationStream, type Logger, destination as openDestination, pino } from 'pino';
import { Loggable } from './loggable.ts';

export type { Logger };

export interface LoggerOptions {
  readonly service: string;
  readonly level: string;
  readonly version?: string;
  /** Standard output when absent. */
  readonly destination?: DestinationStream;
  /** Hears of each secret that a line would have shown. */
  readonly onMasked?: OnMasked;
}

/** One JSON object a line, secrets masked, with the ids of the active span. */
export function createLogger(options: LoggerOptions): Logger {
  const { service, level, version, destination } = options;
  const loggable = new Loggable(options.onMasked);
  const logger = pino(
    {
      level,
      base: { service, ...(version === undefined ? {} : { version }) },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => loggable.fields(fields),
      },
      serializers: {
        // formatters.log has done it, with bounds; pino's own would undo that.
        err: (value: unknown) => value,
        msg: (value: unknown) => (typeof value === 'string' ? loggable.text(value) : value),
      },
      mixin: activeSpan,
    },
    destination ?? openDestination({ dest: 1, sync: false }),
  );
  // pino gives a child's bindings to no formatter of ours, so they are masked on the way in.
  const { child, setBindings } = logger;
  return Object.assign(logger, {
    child(this: Logger, bindings: object, ...rest: unknown[]) {
      return Reflect.apply(child, this, [loggable.fields(bindings), ...rest]);
    },
    setBindings(this: Logger, bindings: object) {
      Reflect.apply(setBindings, this, [loggable.fields(bindings)]);
    },
  });
}

function activeSpan(): object {
  const context = trace.getActiveSpan()?.spanContext();
  if (context === undefined || !isSpanContextValid(context)) return {};
  return { trace_id: context.traceId, span_id: context.spanId };
}
