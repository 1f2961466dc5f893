import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface ExportedSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: { readonly code: number };
}

export interface ExportedLog {
  readonly service: string;
  readonly severityNumber: number;
  readonly body: { readonly stringValue: string };
  readonly traceId?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

export interface ExportedPoint {
  readonly service: string;
  readonly metric: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly asDouble?: number;
  readonly count?: number;
  readonly sum?: number;
  readonly bucketCounts?: readonly number[];
  readonly explicitBounds?: readonly number[];
}

interface KeyValue {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

type OnWire<T> = Omit<T, 'service' | 'metric' | 'attributes'> & {
  readonly attributes?: KeyValue[];
};

interface Exporter {
  readonly resource: { readonly attributes: KeyValue[] };
}

interface WireMetric {
  readonly name: string;
  readonly sum?: { readonly dataPoints: OnWire<ExportedPoint>[] };
  readonly gauge?: { readonly dataPoints: OnWire<ExportedPoint>[] };
  readonly histogram?: { readonly dataPoints: OnWire<ExportedPoint>[] };
}

interface ExportRequest {
  readonly resourceSpans?: (Exporter & {
    readonly scopeSpans: readonly { readonly spans: readonly OnWire<ExportedSpan>[] }[];
  })[];
  readonly resourceLogs?: (Exporter & {
    readonly scopeLogs: readonly { readonly logRecords: readonly OnWire<ExportedLog>[] }[];
  })[];
  readonly resourceMetrics?: (Exporter & {
    readonly scopeMetrics: readonly { readonly metrics: readonly WireMetric[] }[];
  })[];
}

/** Keeps the traces, metrics and logs it receives as OTLP over HTTP in the JSON form. */
export class OtlpCollector {
  readonly spans: ExportedSpan[] = [];
  readonly logs: ExportedLog[] = [];
  readonly points: ExportedPoint[] = [];
  /** Every body, unparsed, for tests that search for secrets. */
  received = '';
  readonly #server = createServer(async (request, response) => {
    const body = await text(request);
    this.received += body;
    this.#keep(JSON.parse(body));
    response.setHeader('content-type', 'application/json').end('{}');
  });

  static async start(t: { after(fn: () => unknown): void }): Promise<OtlpCollector> {
    const collector = new OtlpCollector();
    collector.#server.listen(0, '127.0.0.1');
    await once(collector.#server, 'listening');
    t.after(() => {
      collector.#server.closeAllConnections();
      collector.#server.close();
    });
    return collector;
  }

  /** The variables that make a service export everything to this collector. */
  get env(): Record<string, string> {
    const { port } = this.#server.address() as AddressInfo;
    return {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    };
  }

  ofTrace(traceId: string): ExportedSpan[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }

  /** Newest first, because an exporter sends each series repeatedly. */
  pointsOf(metric: string): ExportedPoint[] {
    return this.points.filter((point) => point.metric === metric).reverse();
  }

  #keep({ resourceSpans = [], resourceLogs = [], resourceMetrics = [] }: ExportRequest): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({ ...span, ...describe(resource, span.attributes) });
      }
    }
    for (const { resource, scopeLogs } of resourceLogs) {
      for (const log of scopeLogs.flatMap(({ logRecords }) => logRecords)) {
        this.logs.push({ ...log, ...describe(resource, log.attributes) });
      }
    }
    for (const { resource, scopeMetrics } of resourceMetrics) {
      for (const { name, sum, gauge, histogram } of scopeMetrics.flatMap((each) => each.metrics)) {
        for (const point of (sum ?? gauge ?? histogram)?.dataPoints ?? []) {
          this.points.push({ ...point, metric: name, ...describe(resource, point.attributes) });
        }
      }
    }
  }
}

function describe(resource: Exporter['resource'], attributes: readonly KeyValue[] = []) {
  const service = String(valuesOf(resource.attributes)['service.name']);
  return { service, attributes: valuesOf(attributes) };
}

function valuesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
