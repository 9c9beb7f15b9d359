"""Sends one histogram with the stock OpenTelemetry SDK, as any application would.

In: protocol, endpoint, shape and values. Out: exit code 0 when the exporter says that the
collector took everything. Never touches Fathomline's own code.
"""

import argparse

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

# Longer than any test: only flushing exports.
NEVER_MS = 3_600_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=["http", "grpc"], required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--shape", choices=["explicit", "exponential"], required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--rounds", type=int, default=1, help="how often to record and export all values")
    parser.add_argument("values", type=float, nargs="+")
    return parser.parse_args()


def exporter(args):
    # Default: explicit buckets, cumulative. Otherwise what Fathomline's own SDK sends.
    choices = {}
    if args.shape == "exponential":
        choices["preferred_temporality"] = {Histogram: AggregationTemporality.DELTA}
        choices["preferred_aggregation"] = {Histogram: ExponentialBucketHistogramAggregation(max_scale=5)}
    if args.protocol == "grpc":
        return GrpcExporter(endpoint=args.endpoint, insecure=True, timeout=20, **choices)
    return HttpExporter(endpoint=f"{args.endpoint}/v1/metrics", timeout=20, **choices)


def main():
    args = arguments()
    reader = PeriodicExportingMetricReader(exporter(args), export_interval_millis=NEVER_MS)
    provider = MeterProvider(
        resource=Resource.create({"service.name": args.service}), metric_readers=[reader]
    )
    histogram = provider.get_meter("stock").create_histogram(args.metric, unit="s")
    for _ in range(args.rounds):
        for value in args.values:
            histogram.record(value, {"gen_ai.request.model": "foreign"})
        if not provider.force_flush(timeout_millis=30_000):
            raise SystemExit("the exporter could not hand over its metrics")
    # Python's exporter also flushes at shutdown: a cumulative histogram is sent once more.
    provider.shutdown(timeout_millis=30_000)


if __name__ == "__main__":
    main()
