// Sends with the JavaScript OpenTelemetry SDK in every way it can, and says what it sent.
//
// In: the two endpoints and a secret. Out: one JSON line, as `send_everything.py` prints it. The
// figures are read from what is exported, not from what was recorded. Never touches Fathomline's
// own code.

import { setTimeout } from "node:timers/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [grpcEndpoint, httpEndpoint, secret, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(path.join(modules, "package.json")));

const { context, trace } = require("@opentelemetry/api");
const metricsSdk = require("@opentelemetry/sdk-metrics");
const { BasicTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { LoggerProvider, SimpleLogRecordProcessor } = require("@opentelemetry/sdk-logs");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const metricExporters = {
  grpc: require("@opentelemetry/exporter-metrics-otlp-grpc").OTLPMetricExporter,
  json: require("@opentelemetry/exporter-metrics-otlp-http").OTLPMetricExporter,
  protobuf: require("@opentelemetry/exporter-metrics-otlp-proto").OTLPMetricExporter,
};
const spanExporters = {
  grpc: require("@opentelemetry/exporter-trace-otlp-grpc").OTLPTraceExporter,
  json: require("@opentelemetry/exporter-trace-otlp-http").OTLPTraceExporter,
  protobuf: require("@opentelemetry/exporter-trace-otlp-proto").OTLPTraceExporter,
};
const { OTLPLogExporter } = require("@opentelemetry/exporter-logs-otlp-http");

const ROUNDS = 3;
const VALUES = [0.1, 0.2, 0.25, 0.5, 1.5];
const { AggregationTemporality, AggregationType } = metricsSdk;
const TEMPORALITIES = {
  delta: AggregationTemporality.DELTA,
  cumulative: AggregationTemporality.CUMULATIVE,
};

function url(protocol, signal) {
  return protocol === "grpc" ? grpcEndpoint : `${httpEndpoint}/v1/${signal}`;
}

/** Adds up what passes through an exporter, by metric. */
function watched(exporter, temporality, totals) {
  const hand = exporter.export.bind(exporter);
  exporter.export = (batch, done) =>
    hand(batch, (result) => {
      if (result.code !== 0) {
        throw result.error ?? new Error("the exporter could not hand over its metrics");
      }
      for (const scope of batch.scopeMetrics) {
        for (const metric of scope.metrics) {
          for (const { value } of metric.dataPoints) {
            const { count, sum } = typeof value === "number" ? { count: value, sum: null } : value;
            const before = temporality === "delta" ? totals[metric.descriptor.name] : undefined;
            totals[metric.descriptor.name] = {
              count: count + (before?.count ?? 0),
              sum: sum === null ? null : sum + (before?.sum ?? 0),
            };
          }
        }
      }
      done(result);
    });
  return exporter;
}

async function sendMetrics(protocol, temporality, shape) {
  const totals = {};
  const exporter = new metricExporters[protocol]({
    url: url(protocol, "metrics"),
    temporalityPreference: TEMPORALITIES[temporality],
    compression: protocol === "json" ? "gzip" : "none",
  });
  const aggregation =
    shape === "exponential"
      ? { type: AggregationType.EXPONENTIAL_HISTOGRAM }
      : { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: [0.15, 0.25, 1] } };
  const reader = new metricsSdk.PeriodicExportingMetricReader({
    exporter: watched(exporter, temporality, totals),
    exportIntervalMillis: 3_600_000,
  });
  const service = `javascript-${protocol}-${temporality}-${shape}`;
  const provider = new metricsSdk.MeterProvider({
    resource: resourceFromAttributes({ "service.name": service }),
    readers: [reader],
    views: [{ instrumentName: "app.latency", aggregation }],
  });
  const meter = provider.getMeter("stock");
  const histogram = meter.createHistogram("app.latency", { unit: "s" });
  const counter = meter.createCounter("app.calls", { unit: "{call}" });
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const value of VALUES) {
      histogram.record(value, { "gen_ai.request.model": "foreign" });
      counter.add(2, { "gen_ai.request.model": "foreign" });
    }
    // A total that starts and ends in one millisecond says that its start is unknown.
    await setTimeout(20);
    await provider.forceFlush();
  }
  await provider.shutdown();
  return { [service]: totals };
}

async function sendSpans(protocol) {
  const service = `javascript-${protocol}`;
  const exporter = new spanExporters[protocol]({ url: url(protocol, "traces") });
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ "service.name": service }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer("stock");
  const around = tracer.startSpan("not of a model");
  for (let number = 0; number < 3; number += 1) {
    const parent = trace.setSpan(context.active(), around);
    const span = tracer.startSpan(`chat ${secret}`, {}, parent);
    span.setAttributes({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "stock",
      "gen_ai.request.model": "foreign",
      "gen_ai.usage.input_tokens": 10 + number,
      "gen_ai.usage.output_tokens": 20 + number,
      "gen_ai.response.finish_reasons": ["stop"],
      "gen_ai.input.messages": secret,
      "app.note": secret,
    });
    span.addEvent("gen_ai.choice", { message: secret });
    span.end();
  }
  around.end();
  await provider.forceFlush();
  await provider.shutdown();
  return { [service]: { spans: 3, input_tokens: 33, output_tokens: 63 } };
}

async function sendLogs() {
  const exporter = new OTLPLogExporter({ url: url("json", "logs") });
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
  provider.getLogger("stock").emit({ body: secret });
  await provider.forceFlush();
  await provider.shutdown();
}

const metrics = {};
const spans = {};
for (const protocol of ["grpc", "json", "protobuf"]) {
  for (const temporality of Object.keys(TEMPORALITIES)) {
    for (const shape of ["explicit", "exponential"]) {
      Object.assign(metrics, await sendMetrics(protocol, temporality, shape));
    }
  }
  Object.assign(spans, await sendSpans(protocol));
}
await sendLogs();
process.stdout.write(JSON.stringify({ metrics, spans }));
