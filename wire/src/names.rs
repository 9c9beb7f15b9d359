//! Every name that crosses the wire, with its unit. Owns the strings; a table of them
//! ([`METRICS`]) lets tests, documentation and the collector agree.
//!
//! GenAI names are spelt here and not imported: the conventions are at development stability and
//! move between repositories, a contract may not.

/// Instrumentation scope of everything the SDK sends.
pub const SCOPE: &str = "fathomline";
/// Carries the contract version.
pub const SCHEMA_URL: &str = "https://fathomline.dev/schemas/1";

/// Header (gRPC metadata key): which installation sends.
pub const HEADER_INSTALLATION: &str = "fathomline-installation";
/// Header: which start of the process.
pub const HEADER_BOOT: &str = "fathomline-boot";
/// Header: which window of that boot.
pub const HEADER_SEQUENCE: &str = "fathomline-sequence";
/// Header: the sender's clock at upload, nanoseconds since the Unix epoch.
pub const HEADER_CLOCK: &str = "fathomline-clock-unix-nano";
/// Header: which part of a window that was too large for one request; 1 is the first, which counts
/// as the window itself.
pub const HEADER_PART: &str = "fathomline-part";
/// Header of a reply: milliseconds to wait between two windows of a backlog.
pub const HEADER_PACE: &str = "fathomline-pace-milliseconds";

/// Resource: logical name of the application.
pub const SERVICE_NAME: &str = "service.name";
/// Resource: version of the application.
pub const SERVICE_VERSION: &str = "service.version";
/// Resource: the boot id, new at each start.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// Resource: the installation id.
pub const DEVICE_ID: &str = "device.id";
/// Resource: what kind of hardware.
pub const DEVICE_MODEL_IDENTIFIER: &str = "device.model.identifier";
/// Resource: processor architecture.
pub const HOST_ARCH: &str = "host.arch";
/// Resource: operating system.
pub const OS_TYPE: &str = "os.type";
/// Resource: production, staging, test, development or custom.
pub const ENVIRONMENT: &str = "deployment.environment.name";
/// Resource: class of devices that are judged together.
pub const DEVICE_CLASS: &str = "fathomline.device.class";
/// Resource: where the device stands.
pub const SITE: &str = "fathomline.site";

/// Point: chat, text_completion, embeddings, ...
pub const OPERATION_NAME: &str = "gen_ai.operation.name";
/// Point: who runs the model; ours is [`PROVIDER_CANDLE`].
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
/// Point: the model's name.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Point: the model's version.
pub const MODEL_VERSION: &str = "fathomline.model.version";
/// Point: short hash of weights, quantization, tokenizer, sampler settings and backend.
pub const MODEL_VARIANT: &str = "fathomline.model.variant";
/// Point: f32, q8_0, ...
pub const MODEL_QUANTIZATION: &str = "fathomline.model.quantization";
/// Point, on energy: what was read; see [`ENERGY_SOURCES`].
pub const ENERGY_SOURCE: &str = "fathomline.energy.source";
/// Point, on energy: what part of the device the reading covers; see [`ENERGY_SCOPES`].
pub const ENERGY_SCOPE: &str = "fathomline.energy.scope";
/// Point, on [`DEVICE_ENERGY`]: `inference`, `idle` or `unattributed`.
pub const ENERGY_USE: &str = "fathomline.energy.use";
/// Point, on [`OUTPUT_VALIDITY`].
pub const VALIDITY_KIND: &str = "fathomline.validity.kind";
/// Point, on [`DEVICE_ALARM`]: last words of the metric that moved: `surprisal`, and
/// `input.surprisal` for that of prompts.
pub const ALARM_SIGNAL: &str = "fathomline.alarm.signal";
/// Point, on [`EMBEDDING_PROJECTION`]: seed and component, because another seed is another series.
pub const PROJECTION_COMPONENT: &str = "fathomline.projection.component";
/// Point, on a noised distribution: which of its fixed cells.
pub const CELL: &str = "fathomline.cell";
/// Point, on a noised distribution: epsilon of one release of one cell.
pub const PRIVACY_EPSILON: &str = "fathomline.privacy.epsilon";
/// Ends the name of a distribution that goes as noised counts of fixed cells.
pub const NOISED: &str = ".noised";
/// Point, on [`OUTPUT_FINISH`].
pub const FINISH_REASON: &str = "fathomline.finish.reason";
/// Point, on [`FEEDBACK`].
pub const FEEDBACK_KIND: &str = "fathomline.feedback.kind";
/// Point, on [`INPUT_SCRIPT`].
pub const SCRIPT: &str = "fathomline.script";
/// Point, on [`OUTPUT_LABEL`].
pub const LABEL: &str = "fathomline.label";
/// Value of [`PROVIDER_NAME`] that the SDK sends.
pub const PROVIDER_CANDLE: &str = "candle";
/// Values of [`ENERGY_SOURCE`]; a series has one for its whole life.
pub const ENERGY_SOURCES: [&str; 5] = [
    "measured.rail",
    "measured.package",
    "measured.gpu",
    "measured.battery",
    "estimated",
];
/// Values of [`ENERGY_SCOPE`]: processor package, accelerator board, module without its carrier,
/// whole device.
pub const ENERGY_SCOPES: [&str; 4] = ["package", "gpu", "module", "device"];
/// Stands for every category beyond those declared.
pub const OTHER: &str = "other";

/// Older name, taken in and never sent: input and output tokens by [`LEGACY_TOKEN_TYPE`].
pub const LEGACY_TOKEN_USAGE: &str = "gen_ai.client.token.usage";
/// Point, on [`LEGACY_TOKEN_USAGE`]: input or output.
pub const LEGACY_TOKEN_TYPE: &str = "gen_ai.token.type";
/// Older name of [`PROVIDER_NAME`].
pub const LEGACY_PROVIDER: &str = "gen_ai.system";
/// Older name of [`ENVIRONMENT`].
pub const LEGACY_ENVIRONMENT: &str = "deployment.environment";

/// Duration of the whole operation.
pub const OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
/// Time until the first token was sampled.
pub const TIME_TO_FIRST_TOKEN: &str = "gen_ai.server.time_to_first_token";
/// Mean time per token after the first.
pub const TIME_PER_OUTPUT_TOKEN: &str = "gen_ai.server.time_per_output_token";
/// Prompt tokens of one operation.
pub const INPUT_TOKENS: &str = "gen_ai.client.inference.operation.input_tokens";
/// Generated tokens of one operation.
pub const OUTPUT_TOKENS: &str = "gen_ai.client.inference.operation.output_tokens";
/// Mean -ln p of the chosen tokens.
pub const OUTPUT_SURPRISAL: &str = "fathomline.output.surprisal";
/// Mean entropy of the next-token distribution.
pub const OUTPUT_ENTROPY: &str = "fathomline.output.entropy";
/// Mean of 1 - p of the likeliest token.
pub const OUTPUT_UNCERTAINTY: &str = "fathomline.output.uncertainty";
/// Mean of p1 - p2.
pub const OUTPUT_MARGIN: &str = "fathomline.output.margin";
/// Share of four-token sequences that occurred before in the same output.
pub const OUTPUT_REPETITION: &str = "fathomline.output.repetition";
/// Characters of prompts, by [`SCRIPT`].
pub const INPUT_SCRIPT: &str = "fathomline.input.script";
/// Mean -ln p of the prompt's tokens.
pub const INPUT_SURPRISAL: &str = "fathomline.input.surprisal";
/// How operations ended, by [`FINISH_REASON`].
pub const OUTPUT_FINISH: &str = "fathomline.output.finish";
/// Declared labels, by [`LABEL`].
pub const OUTPUT_LABEL: &str = "fathomline.output.label";
/// What a validator of the application said of outputs, by [`VALIDITY_KIND`].
pub const OUTPUT_VALIDITY: &str = "fathomline.output.validity";
/// Energy of one inference above idle.
pub const INFERENCE_ENERGY: &str = "fathomline.inference.energy";
/// How long a model took to load.
pub const MODEL_LOAD_DURATION: &str = "fathomline.model.load.duration";
/// Distance of a golden probe's answer from the one frozen for it.
pub const PROBE_DISTANCE: &str = "fathomline.probe.distance";
/// Golden probes that answered with other tokens than those frozen.
pub const PROBE_MISMATCH: &str = "fathomline.probe.mismatch";
/// Alarms of the detector on the device, by [`ALARM_SIGNAL`].
pub const DEVICE_ALARM: &str = "fathomline.device.alarm";
/// Seeded random projections of pooled embeddings, by [`PROJECTION_COMPONENT`].
pub const EMBEDDING_PROJECTION: &str = "fathomline.embedding.projection";
/// What people made of the output, by [`FEEDBACK_KIND`].
pub const FEEDBACK: &str = "fathomline.feedback";
/// The window's sequence number: identity that survives a relay which drops headers.
pub const WINDOW_SEQUENCE: &str = "fathomline.device.window.sequence";
/// Bytes waiting in the device's spool.
pub const SPOOL_SIZE: &str = "fathomline.device.spool.size";
/// Windows the device had to drop because its spool was full.
pub const WINDOW_DROPPED: &str = "fathomline.device.window.dropped";
/// Windows that became one with their neighbour because the spool was full: nothing is lost but
/// resolution in time.
pub const WINDOW_MERGED: &str = "fathomline.device.window.merged";
/// Memory of the process.
pub const DEVICE_MEMORY_USAGE: &str = "fathomline.device.memory.usage";
/// Memory the device could still give.
pub const DEVICE_MEMORY_AVAILABLE: &str = "fathomline.device.memory.available";
/// Load average over a minute, per processor core.
pub const DEVICE_LOAD: &str = "fathomline.device.load";
/// Hottest thermal zone.
pub const DEVICE_TEMPERATURE: &str = "fathomline.device.temperature";
/// Share of a window's samples in which the processor was held below its usual speed.
pub const DEVICE_THROTTLED: &str = "fathomline.device.throttled";
/// Share of a window's samples in which the device ran on battery.
pub const DEVICE_ON_BATTERY: &str = "fathomline.device.on_battery";
/// The collector's clock minus the device's, as the last reply showed it.
pub const DEVICE_CLOCK_OFFSET: &str = "fathomline.device.clock.offset";
/// Energy of the device, by [`ENERGY_USE`].
pub const DEVICE_ENERGY: &str = "fathomline.device.energy";

/// What kind of instrument a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exponential histogram, delta temporality, one record per inference.
    Distribution,
    /// Explicit-bounds histogram, delta temporality, for values around zero.
    Explicit,
    /// Monotonic delta sum, split by one bounded category.
    Category,
    /// Monotonic delta sum.
    Counter,
    /// Last value.
    Gauge,
}

/// One metric of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name on the wire and in the tables.
    pub name: &'static str,
    /// UCUM unit.
    pub unit: &'static str,
    /// Instrument.
    pub kind: Kind,
    /// Point attribute that holds the category: always for [`Kind::Category`], and for
    /// distributions that must not be mixed, such as energy of several sources.
    pub category: Option<&'static str>,
}

const fn distribution(name: &'static str, unit: &'static str) -> Metric {
    plain(name, unit, Kind::Distribution)
}

const fn category(name: &'static str, unit: &'static str, attribute: &'static str) -> Metric {
    Metric {
        category: Some(attribute),
        ..plain(name, unit, Kind::Category)
    }
}

const fn plain(name: &'static str, unit: &'static str, kind: Kind) -> Metric {
    Metric {
        name,
        unit,
        kind,
        category: None,
    }
}

/// Every metric that an SDK may send in this contract version.
pub const METRICS: [Metric; 34] = [
    distribution(OPERATION_DURATION, "s"),
    distribution(TIME_TO_FIRST_TOKEN, "s"),
    distribution(TIME_PER_OUTPUT_TOKEN, "s"),
    distribution(INPUT_TOKENS, "{token}"),
    distribution(OUTPUT_TOKENS, "{token}"),
    distribution(OUTPUT_SURPRISAL, "{nat}"),
    distribution(OUTPUT_ENTROPY, "{nat}"),
    distribution(OUTPUT_UNCERTAINTY, "1"),
    distribution(OUTPUT_MARGIN, "1"),
    distribution(OUTPUT_REPETITION, "1"),
    distribution(INPUT_SURPRISAL, "{nat}"),
    category(INPUT_SCRIPT, "{character}", SCRIPT),
    category(OUTPUT_FINISH, "{operation}", FINISH_REASON),
    category(OUTPUT_LABEL, "{label}", LABEL),
    category(FEEDBACK, "{feedback}", FEEDBACK_KIND),
    Metric {
        category: Some(ENERGY_SOURCE),
        ..distribution(INFERENCE_ENERGY, "J")
    },
    distribution(MODEL_LOAD_DURATION, "s"),
    distribution(PROBE_DISTANCE, "1"),
    Metric {
        category: Some(PROJECTION_COMPONENT),
        ..plain(EMBEDDING_PROJECTION, "1", Kind::Explicit)
    },
    category(OUTPUT_VALIDITY, "{output}", VALIDITY_KIND),
    category(DEVICE_ALARM, "{alarm}", ALARM_SIGNAL),
    category(DEVICE_ENERGY, "J", ENERGY_USE),
    plain(PROBE_MISMATCH, "{probe}", Kind::Counter),
    plain(WINDOW_SEQUENCE, "1", Kind::Gauge),
    plain(SPOOL_SIZE, "By", Kind::Gauge),
    plain(WINDOW_DROPPED, "{window}", Kind::Counter),
    plain(WINDOW_MERGED, "{window}", Kind::Counter),
    plain(DEVICE_MEMORY_USAGE, "By", Kind::Gauge),
    plain(DEVICE_MEMORY_AVAILABLE, "By", Kind::Gauge),
    plain(DEVICE_LOAD, "1", Kind::Gauge),
    plain(DEVICE_TEMPERATURE, "Cel", Kind::Gauge),
    plain(DEVICE_THROTTLED, "1", Kind::Gauge),
    plain(DEVICE_ON_BATTERY, "1", Kind::Gauge),
    plain(DEVICE_CLOCK_OFFSET, "s", Kind::Gauge),
];

/// Beginnings of names that speak of speed, volume, energy or health, whoever sends them.
pub const PER_DEVICE_PREFIXES: [&str; 7] = [
    "gen_ai.client.",
    "gen_ai.server.",
    "fathomline.device.",
    "system.",
    "process.",
    "hw.",
    "http.",
];

/// Metrics of speed, energy and health beside those that [`PER_DEVICE_PREFIXES`] name. Probes are
/// about the device's weights: their prompts are fixed.
pub const PER_DEVICE: [&str; 4] = [
    INFERENCE_ENERGY,
    MODEL_LOAD_DURATION,
    PROBE_DISTANCE,
    PROBE_MISMATCH,
];

/// Whether metric `name` may be shown for a single device: speed, volume, energy and health may.
/// What came in, what a model made of it and what people said of that may not, and neither may a
/// name that nobody here knows. [`DEVICE_ALARM`] is a judgement about outputs.
pub fn shown_per_device(name: &str) -> bool {
    let exact = name.strip_suffix(NOISED).unwrap_or(name);
    exact != DEVICE_ALARM
        && (PER_DEVICE.contains(&exact)
            || PER_DEVICE_PREFIXES
                .iter()
                .any(|prefix| exact.starts_with(prefix)))
}

/// The contract's entry for `name`, if it is one of ours.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// The point attribute that splits metric `name` into bounded categories, if one does.
pub fn category_attribute(name: &str) -> Option<&'static str> {
    let noised = || name.strip_suffix(NOISED).and(Some(CELL));
    metric(name).map_or_else(noised, |metric| metric.category)
}

/// Histogram scale that the SDK pins for a unit: 5 (2.2 % wide buckets) for seconds and joules, 4
/// otherwise. An SDK that started finer would force every merge through a long downscale.
pub fn pinned_scale(unit: &str) -> i32 {
    if matches!(unit, "s" | "J") { 5 } else { 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_naming_rules() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} is listed twice", metric.name);
            assert!(
                metric
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b"._".contains(&b))
            );
            assert!(!metric.name.ends_with("_total"));
            assert!(metric.category.is_some() || metric.kind != Kind::Category);
        }
    }

    #[test]
    fn what_is_said_and_made_of_it_is_not_shown_per_device() {
        let hidden: Vec<_> = METRICS
            .iter()
            .map(|metric| metric.name)
            .filter(|name| !shown_per_device(name))
            .collect();
        let expected = [
            OUTPUT_SURPRISAL,
            OUTPUT_ENTROPY,
            OUTPUT_UNCERTAINTY,
            OUTPUT_MARGIN,
            OUTPUT_REPETITION,
            INPUT_SURPRISAL,
            INPUT_SCRIPT,
            OUTPUT_FINISH,
            OUTPUT_LABEL,
            FEEDBACK,
            EMBEDDING_PROJECTION,
            OUTPUT_VALIDITY,
            DEVICE_ALARM,
        ];
        assert_eq!(hidden, expected);
        assert!(shown_per_device("fathomline.inference.energy.noised"));
        assert!(!shown_per_device("fathomline.output.surprisal.noised"));
        assert!(!shown_per_device("somebody.else"));
    }

    #[test]
    fn the_schema_url_carries_the_contract_version() {
        assert!(SCHEMA_URL.ends_with(&format!("/{}", crate::CONTRACT_VERSION)));
    }
}
