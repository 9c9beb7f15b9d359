//! The same metrics through an application's own OpenTelemetry pipeline (feature `otel-bridge`).
//! In: what inferences observe. Out: records on instruments with the contract's names, units and
//! attributes; the application's reader and exporter do the rest. Never a spool, a thread or a
//! socket of our own. A record costs what the OpenTelemetry SDK takes for it, which is several
//! times what our own sketches take (`benches/record.rs`).

use std::sync::{Arc, PoisonError, RwLock};

use fathomline_wire::{
    limits::{HISTOGRAM_BUCKETS_MAX, LABELS_MAX, VARIANTS_MAX},
    names::{self, Kind},
};
use opentelemetry::{
    InstrumentationScope, KeyValue, StringValue,
    metrics::{Counter, Histogram, Meter, MeterProvider},
};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, Stream};

use crate::{
    builder::Builder,
    detector::WATCHED,
    error::Error,
    installation, line,
    meter::{Observation, Plan, Record, SIGNALS, SeriesKey, Signal, Variant},
    otlp::EnergyReading,
    projection,
    script::Script,
    words::Operation,
};

/// Series of one metric without categories: every variant and `other`, under every operation and
/// under none. The OpenTelemetry SDK reserves memory for as many.
const SERIES_MAX: usize = (VARIANTS_MAX + 1) * (Operation::ALL.len() + 1);

impl Builder {
    /// Records on instruments of `provider`, the application's own OpenTelemetry pipeline, instead
    /// of the spool. Endpoint, token, window and spool have no effect then, the line starts no
    /// thread but the one that reads energy and feeds the detector, which learns anew each time;
    /// of [`Health`](crate::Health) only what the device itself found is filled; flushing is the
    /// provider's. A record costs what the OpenTelemetry SDK takes for it, on the thread that
    /// infers.
    ///
    /// For the figures our own exporter sends, build the provider with
    /// [`bridge_view`](Self::bridge_view) and [`bridge_resource`](Self::bridge_resource), and its
    /// exporter with delta temporality; cumulative sums of a device that restarts are ambiguous.
    /// What belongs to a device or to our spool and no inference (memory, temperature, the window's
    /// sequence) is not bridged, so the collector cannot tell lost windows from idle ones.
    pub fn bridge(mut self, provider: &impl MeterProvider) -> Self {
        self.plan.instruments = Some(Arc::new(Instruments::new(provider)));
        self
    }

    /// For `MeterProviderBuilder::with_view`: aggregates our distributions as exponential
    /// histograms of the contract's scale and at most 160 buckets; touches nobody else's
    /// instruments.
    pub fn bridge_view(instrument: &Instrument) -> Option<Stream> {
        view(instrument)
    }

    /// For `Resource::builder().with_attributes`: what our own exporter says about the service and
    /// the device, with a new `service.instance.id` at each call. Has a `device.id` only when
    /// [`installation`](Self::installation) was given: there is no spool folder to keep one in.
    ///
    /// # Errors
    /// When an option is invalid, or the system has no random numbers.
    pub fn bridge_resource(&self) -> Result<Vec<KeyValue>, Error> {
        let settings = self.clone().checked()?;
        let boot = installation::random()?;
        let installation = settings.installation.as_deref();
        let attributes = line::resource(&settings, installation, &boot).into_iter();
        Ok(attributes.map(|(key, value)| text(key, &value)).collect())
    }
}

/// Instruments of one application, for all lines that record on them.
#[derive(Debug)]
pub(crate) struct Instruments {
    /// In the order of [`SIGNALS`].
    signals: [Histogram<f64>; SIGNALS.len()],
    projections: Histogram<f64>,
    finish: Counter<u64>,
    feedback: Counter<u64>,
    validity: Counter<u64>,
    scripts: Counter<u64>,
    labels: Counter<u64>,
    alarms: Counter<u64>,
    probe_mismatches: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(provider: &impl MeterProvider) -> Self {
        let scope = InstrumentationScope::builder(names::SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(names::SCHEMA_URL);
        let meter = provider.meter_with_scope(scope.build());
        let projections = meter
            .f64_histogram(names::EMBEDDING_PROJECTION)
            .with_unit(unit(names::EMBEDDING_PROJECTION))
            .with_boundaries(projection::bounds());
        Self {
            signals: SIGNALS.map(|name| {
                let signal = meter.f64_histogram(name).with_unit(unit(name));
                signal.build()
            }),
            projections: projections.build(),
            finish: counter(&meter, names::OUTPUT_FINISH),
            feedback: counter(&meter, names::FEEDBACK),
            validity: counter(&meter, names::OUTPUT_VALIDITY),
            scripts: counter(&meter, names::INPUT_SCRIPT),
            labels: counter(&meter, names::OUTPUT_LABEL),
            alarms: counter(&meter, names::DEVICE_ALARM),
            probe_mismatches: counter(&meter, names::PROBE_MISMATCH),
        }
    }
}

fn counter(meter: &Meter, name: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_unit(unit(name)).build()
}

fn unit(name: &str) -> &'static str {
    names::metric(name).map_or("", |metric| metric.unit)
}

/// What makes the application's SDK aggregate our instruments as our own exporter does; `None` for
/// everybody else's.
pub(crate) fn view(instrument: &Instrument) -> Option<Stream> {
    if instrument.scope().name() != names::SCOPE {
        return None;
    }
    let metric = names::metric(instrument.name())?;
    let stream = match metric.kind {
        Kind::Distribution => Stream::builder()
            .with_cardinality_limit(SERIES_MAX)
            .with_aggregation(Aggregation::Base2ExponentialHistogram {
                max_size: HISTOGRAM_BUCKETS_MAX as u32,
                max_scale: i8::try_from(names::pinned_scale(metric.unit)).ok()?,
                record_min_max: true,
            }),
        // The SDK's own limit of 2,000 is enough for all other categories.
        Kind::Category if metric.name == names::OUTPUT_LABEL => {
            Stream::builder().with_cardinality_limit(SERIES_MAX * (LABELS_MAX + 1))
        }
        _ => return None,
    };
    stream.build().ok()
}

/// One line's way to the instruments.
#[derive(Debug)]
pub(crate) struct Bridge {
    instruments: Arc<Instruments>,
    /// Attributes of energy besides those of its series.
    energy: Vec<KeyValue>,
    /// Attributes of the variants, by index.
    variants: RwLock<Vec<Vec<KeyValue>>>,
}

impl Bridge {
    pub(crate) fn new(instruments: &Arc<Instruments>, energy: Option<EnergyReading>) -> Self {
        let energy = energy.map(|EnergyReading { source, scope }| {
            vec![
                KeyValue::new(names::ENERGY_SOURCE, source),
                KeyValue::new(names::ENERGY_SCOPE, scope),
            ]
        });
        Self {
            instruments: Arc::clone(instruments),
            energy: energy.unwrap_or_default(),
            variants: RwLock::default(),
        }
    }

    /// The next variant of the line, in the order of their indexes.
    pub(crate) fn declare(&self, variant: &Variant) {
        let attributes = variant.attributes.iter();
        let attributes = attributes.map(|(key, value)| text(key, value)).collect();
        let mut variants = self
            .variants
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        variants.push(attributes);
    }

    pub(crate) fn observe(&self, plan: &Plan, key: SeriesKey, seen: Observation<'_>) {
        let mut series = Series {
            instruments: &self.instruments,
            attributes: self.attributes(key),
        };
        match seen {
            Observation::Record(record) => series.record(record),
            // Energy is never in a record: it is known some time after the end.
            Observation::Value(Signal::Energy, joules) => {
                series.attributes.extend_from_slice(&self.energy);
                series.value(Signal::Energy as usize, joules);
            }
            Observation::Value(signal, value) => series.value(signal as usize, value),
            Observation::Feedback(kind) => {
                series.count(
                    &self.instruments.feedback,
                    names::FEEDBACK_KIND,
                    kind.name(),
                );
            }
            Observation::Validity(kind) => {
                series.count(
                    &self.instruments.validity,
                    names::VALIDITY_KIND,
                    kind.name(),
                );
            }
            Observation::Scripts(counts) => series.scripts(counts),
            Observation::Label(index) => {
                let label = plan.labels.get(index).map_or(names::OTHER, String::as_str);
                series.count(&self.instruments.labels, names::LABEL, label);
            }
            Observation::Projections(values) => series.projections(plan, values),
            Observation::Alarm(signal) => {
                let signal = WATCHED.get(signal).copied().unwrap_or(names::OTHER);
                series.count(&self.instruments.alarms, names::ALARM_SIGNAL, signal);
            }
            Observation::ProbeMismatch => {
                let mismatches = &self.instruments.probe_mismatches;
                mismatches.add(1, &series.attributes);
            }
        }
    }

    fn attributes(&self, key: SeriesKey) -> Vec<KeyValue> {
        let variants = self.variants.read().unwrap_or_else(PoisonError::into_inner);
        let variant = variants.get(key.variant).map_or(&[][..], Vec::as_slice);
        let operation = key.operation.map(Operation::name);
        let operation = operation.map(|name| KeyValue::new(names::OPERATION_NAME, name));
        // Room for a category.
        let mut attributes = Vec::with_capacity(variant.len() + 2);
        attributes.extend(operation);
        attributes.extend_from_slice(variant);
        attributes
    }
}

/// The instruments, with the attributes of one series.
struct Series<'a> {
    instruments: &'a Instruments,
    attributes: Vec<KeyValue>,
}

impl Series<'_> {
    fn record(self, record: &Record) {
        for (signal, value) in record.signals.iter().enumerate() {
            if let Some(value) = value {
                self.value(signal, *value);
            }
        }
        let reason = record.finish.name();
        let finish = &self.instruments.finish;
        self.count(finish, names::FINISH_REASON, reason);
    }

    fn value(&self, signal: usize, value: f64) {
        // The SDK leaves out what is not finite, as our sketches do.
        self.instruments.signals[signal].record(value, &self.attributes);
    }

    fn count(&self, counter: &Counter<u64>, attribute: &'static str, category: &str) {
        counter.add(1, &self.with(text(attribute, category)));
    }

    fn scripts(&self, counts: &[u64]) {
        for (script, count) in Script::ALL.into_iter().zip(counts) {
            if *count > 0 {
                let attributes = self.with(KeyValue::new(names::SCRIPT, script.name()));
                self.instruments.scripts.add(*count, &attributes);
            }
        }
    }

    fn projections(&self, plan: &Plan, values: &[f64]) {
        let Some(plan) = plan.projections else {
            return;
        };
        for (component, value) in values.iter().enumerate() {
            let category = text(names::PROJECTION_COMPONENT, &plan.category(component));
            self.instruments
                .projections
                .record(*value, &self.with(category));
        }
    }

    fn with(&self, category: KeyValue) -> Vec<KeyValue> {
        let mut attributes = self.attributes.clone();
        attributes.push(category);
        attributes
    }
}

/// An attribute whose clones share the text.
pub(crate) fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, StringValue::from(Arc::<str>::from(value)))
}

#[cfg(test)]
mod tests;
