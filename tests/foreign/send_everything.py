"""Sends with the stock OpenTelemetry SDK in every way it can, and says what it sent.

In: the two endpoints. Out: one JSON line: for each service and metric the count and sum that the
SDK's own exporter handed over, and the spans. The figures are read from what is exported, not from
what was recorded. Never touches Fathomline's own code.
"""

import argparse
import json
import sys

from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter as JsonMetrics
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter as JsonSpans
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

# Longer than any test: only flushing exports.
NEVER_MS = 3_600_000
ROUNDS = 3
VALUES = [0.1, 0.2, 0.25, 0.5, 1.5]
TEMPORALITIES = {"delta": AggregationTemporality.DELTA, "cumulative": AggregationTemporality.CUMULATIVE}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--secret", required=True, help="what was asked and answered: must not be stored")
    return parser.parse_args()


class Reported:
    """Adds up what passes through an exporter, by metric."""

    def __init__(self, temporality):
        self.temporality = temporality
        self.totals = {}

    def exported(self, batch):
        for source in batch.resource_metrics:
            for scope in source.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        self.add(metric.name, getattr(point, "count", getattr(point, "value", 0)), point)

    def add(self, name, count, point):
        figures = {"count": count, "sum": getattr(point, "sum", None)}
        before = self.totals.get(name)
        if before and self.temporality == "delta":
            figures["count"] += before["count"]
            if figures["sum"] is not None:
                figures["sum"] += before["sum"]
        self.totals[name] = figures


def watched(exporter, reported):
    export = exporter.export

    def report(batch, *rest, **named):
        result = export(batch, *rest, **named)
        if result != MetricExportResult.SUCCESS:
            raise SystemExit(f"the exporter could not hand over {reported.totals}")
        reported.exported(batch)
        return result

    exporter.export = report
    return exporter


def metric_exporter(args, protocol, temporality, shape):
    aggregation = (
        ExponentialBucketHistogramAggregation(max_scale=5)
        if shape == "exponential"
        else ExplicitBucketHistogramAggregation([0.15, 0.25, 1.0])
    )
    chosen = TEMPORALITIES[temporality]
    choices = {
        "preferred_temporality": {Histogram: chosen, Counter: chosen},
        "preferred_aggregation": {Histogram: aggregation},
    }
    if protocol == "grpc":
        return GrpcMetrics(endpoint=args.grpc, insecure=True, timeout=20, **choices)
    endpoint = f"{args.http}/v1/metrics"
    if protocol == "json":
        return JsonMetrics(endpoint=endpoint, timeout=20, **choices)
    return HttpMetrics(endpoint=endpoint, timeout=20, compression=Compression.Gzip, **choices)


def send_metrics(args, protocol, temporality, shape):
    reported = Reported(temporality)
    exporter = watched(metric_exporter(args, protocol, temporality, shape), reported)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=NEVER_MS)
    service = f"python-{protocol}-{temporality}-{shape}"
    provider = MeterProvider(
        resource=Resource.create({"service.name": service}), metric_readers=[reader]
    )
    meter = provider.get_meter("stock")
    histogram = meter.create_histogram("app.latency", unit="s")
    counter = meter.create_counter("app.calls", unit="{call}")
    for _ in range(ROUNDS):
        for value in VALUES:
            histogram.record(value, {"gen_ai.request.model": "foreign"})
            counter.add(2, {"gen_ai.request.model": "foreign"})
        if not provider.force_flush(timeout_millis=30_000):
            raise SystemExit("the exporter could not hand over its metrics")
    # Exports once more: cumulative points that did not grow, delta points that are not there.
    provider.shutdown(timeout_millis=30_000)
    return {service: reported.totals}


def span_exporter(args, protocol):
    if protocol == "grpc":
        return GrpcSpans(endpoint=args.grpc, insecure=True, timeout=20)
    endpoint = f"{args.http}/v1/traces"
    return (JsonSpans if protocol == "json" else HttpSpans)(endpoint=endpoint, timeout=20)


def send_spans(args, protocol):
    exporter = span_exporter(args, protocol)
    service = f"python-{protocol}"
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("stock")
    with tracer.start_as_current_span("not of a model"):
        for number in range(3):
            with tracer.start_as_current_span(f"chat {args.secret}") as span:
                span.set_attribute("gen_ai.operation.name", "chat")
                span.set_attribute("gen_ai.provider.name", "stock")
                span.set_attribute("gen_ai.request.model", "foreign")
                span.set_attribute("gen_ai.usage.input_tokens", 10 + number)
                span.set_attribute("gen_ai.usage.output_tokens", 20 + number)
                span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
                span.set_attribute("gen_ai.input.messages", args.secret)
                span.set_attribute("app.note", args.secret)
                span.add_event("gen_ai.choice", {"message": args.secret})
    provider.shutdown()
    return {service: {"spans": 3, "input_tokens": 33, "output_tokens": 63}}


def main():
    args = arguments()
    metrics, spans = {}, {}
    for protocol in ["grpc", "json", "protobuf"]:
        for temporality in TEMPORALITIES:
            for shape in ["explicit", "exponential"]:
                metrics |= send_metrics(args, protocol, temporality, shape)
        spans |= send_spans(args, protocol)
    json.dump({"metrics": metrics, "spans": spans}, sys.stdout)


if __name__ == "__main__":
    main()
