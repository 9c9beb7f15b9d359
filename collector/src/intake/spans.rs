//! Spans of foreign SDKs. In: a trace request. Out: a row for each GenAI span, and what was left
//! out of it. Rows have a column for each attribute that is kept and none for anything else, so
//! what was asked and answered, however it is spelt, cannot pass: an event, a link, a span's name
//! or a status message is not read at all.

use fathomline_queries::rows::{Clock, SpanKind, SpanRow, SpanStatus};
use fathomline_wire::{limits::COUNTER_MAX, names, rejection::Rejection};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, span, status},
};

use super::{
    Refusal, Rejected, check_parts,
    resource::{self, Sender, is_kept, value},
};

const SYSTEM: &str = "gen_ai.system";
const RESPONSE_MODEL: &str = "gen_ai.response.model";
const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
const ERROR_TYPE: &str = "error.type";
/// Current names first, then those of older senders.
const INPUT_TOKENS: [&str; 2] = ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"];
const OUTPUT_TOKENS: [&str; 2] = [
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
];
const MAX_TOKENS: [&str; 1] = ["gen_ai.request.max_tokens"];
const TEMPERATURE: &str = "gen_ai.request.temperature";
const TOP_P: &str = "gen_ai.request.top_p";

/// Any of these says that a span is of a GenAI operation.
const MARKS: [&str; 4] = [
    names::OPERATION_NAME,
    names::PROVIDER_NAME,
    SYSTEM,
    names::REQUEST_MODEL,
];

/// Beginnings of attributes and events that are known to hold what was asked or answered. They are
/// counted so that their sender can be told; what is not on this list is not stored either.
const CONTENT: [&str; 22] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.choice",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.content",
    "gen_ai.retrieval",
    "gen_ai.client.inference.operation.details",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompt",
    "llm.completion",
    "input.value",
    "output.value",
];

/// Longest word of a column that holds one of a few: an operation, a reason, an error's type.
const WORD_BYTES_MAX: usize = 64;

/// Finish reasons that are kept of one span: one for each choice that was asked for.
const REASONS_MAX: usize = 8;

/// What was not stored although its span was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Attributes and events with prompts, answers or instructions.
    pub(crate) content: u64,
}

/// How many spans a request has; refuses one with more parts than a collector should hold at once.
pub(crate) fn check_spans(request: &ExportTraceServiceRequest) -> Result<usize, Refusal> {
    let resources = request.resource_spans.iter();
    let scopes = resources.flat_map(|source| &source.scope_spans);
    let spans: usize = scopes.clone().map(|scope| scope.spans.len()).sum();
    let parts = request.resource_spans.len() + scopes.count() + spans;
    check_parts(parts, "resources, scopes and spans").map(|()| spans)
}

/// Reads every GenAI span out of a request.
pub(crate) fn from_traces(
    request: &ExportTraceServiceRequest,
) -> (Vec<SpanRow>, Rejected, LeftOut) {
    let (mut rows, mut rejected) = (Vec::new(), Rejected::default());
    let mut left_out = LeftOut::default();
    for source in &request.resource_spans {
        let sender = resource::read(source.resource.as_ref());
        for span in source.scope_spans.iter().flat_map(|scope| &scope.spans) {
            left_out.content += content(span);
            match row(span, &sender) {
                Ok(row) => rows.push(row),
                Err(reason) => rejected.add(reason, 1),
            }
        }
    }
    (rows, rejected, left_out)
}

fn row(span: &Span, sender: &Sender) -> Result<SpanRow, Rejection> {
    let attributes = span.attributes.as_slice();
    if !MARKS.iter().any(|mark| find(attributes, mark).is_some()) {
        return Err(Rejection::NotGenAi);
    }
    if sender.too_long {
        return Err(Rejection::TooLong);
    }
    let (start_time, time) = times(span)?;
    let kept = |name| match value(attributes, name) {
        Some(text) if !is_kept(&text) => Err(Rejection::TooLong),
        text => Ok(text),
    };
    let provider = [names::PROVIDER_NAME, SYSTEM];
    let provider = provider.iter().find_map(|name| word(attributes, name));
    Ok(SpanRow {
        time,
        start_time,
        sender_time: time,
        service: sender.service.clone(),
        environment: sender.environment.clone(),
        device: sender.device.clone(),
        device_class: sender.device_class.clone(),
        site: sender.site.clone(),
        boot: (!sender.boot.is_empty()).then(|| sender.boot.clone()),
        clock: Clock::Ok,
        trace_id: identifier(&span.trace_id)
            .map(u128::from_be_bytes)
            .ok_or(Rejection::Malformed)?,
        span_id: identifier(&span.span_id)
            .map(u64::from_be_bytes)
            .ok_or(Rejection::Malformed)?,
        parent_span_id: identifier(&span.parent_span_id).map(u64::from_be_bytes),
        kind: kind(span.kind),
        status: status(span),
        error_type: word(attributes, ERROR_TYPE),
        operation: word(attributes, names::OPERATION_NAME),
        provider,
        model: kept(names::REQUEST_MODEL)?.unwrap_or_default(),
        response_model: kept(RESPONSE_MODEL)?,
        version: kept(names::MODEL_VERSION)?.unwrap_or_default(),
        variant: kept(names::MODEL_VARIANT)?.unwrap_or_default(),
        quantization: kept(names::MODEL_QUANTIZATION)?,
        finish_reasons: reasons(attributes),
        input_tokens: tokens(attributes, &INPUT_TOKENS)?,
        output_tokens: tokens(attributes, &OUTPUT_TOKENS)?,
        max_tokens: tokens(attributes, &MAX_TOKENS)?,
        temperature: number(attributes, TEMPERATURE),
        top_p: number(attributes, TOP_P),
    })
}

fn times(span: &Span) -> Result<(i64, i64), Rejection> {
    let micros = |nanos: u64| i64::try_from(nanos / 1000).map_err(|_| Rejection::Time);
    let (start, end) = (
        micros(span.start_time_unix_nano)?,
        micros(span.end_time_unix_nano)?,
    );
    match 0 < start && start <= end {
        true => Ok((start, end)),
        false => Err(Rejection::Time),
    }
}

/// The identifier, if it has its length and is not all zeros.
fn identifier<const BYTES: usize>(bytes: &[u8]) -> Option<[u8; BYTES]> {
    let id: [u8; BYTES] = bytes.try_into().ok()?;
    id.iter().any(|byte| *byte != 0).then_some(id)
}

fn kind(kind: i32) -> SpanKind {
    match span::SpanKind::try_from(kind) {
        Ok(span::SpanKind::Internal) => SpanKind::Internal,
        Ok(span::SpanKind::Server) => SpanKind::Server,
        Ok(span::SpanKind::Client) => SpanKind::Client,
        Ok(span::SpanKind::Producer) => SpanKind::Producer,
        Ok(span::SpanKind::Consumer) => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

fn status(span: &Span) -> SpanStatus {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    match status::StatusCode::try_from(code) {
        Ok(status::StatusCode::Ok) => SpanStatus::Ok,
        Ok(status::StatusCode::Error) => SpanStatus::Error,
        _ => SpanStatus::Unset,
    }
}

fn find<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

/// The value of an attribute that is one word; anything else is `other`, because it may be text.
fn word(attributes: &[KeyValue], name: &str) -> Option<String> {
    find(attributes, name).map(one_word)
}

fn one_word(value: &Value) -> String {
    let is_word = |text: &str| {
        (1..=WORD_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.:/-".contains(&b))
    };
    match value {
        Value::StringValue(text) if is_word(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        _ => names::OTHER.to_owned(),
    }
}

/// The finish reasons as the convention has them: a list, one for each choice.
fn reasons(attributes: &[KeyValue]) -> Option<String> {
    match find(attributes, FINISH_REASONS)? {
        Value::ArrayValue(list) => {
            let words = list.values.iter().take(REASONS_MAX);
            let words = words.filter_map(|AnyValue { value }| value.as_ref().map(one_word));
            Some(words.collect::<Vec<_>>().join(","))
        }
        one => Some(one_word(one)),
    }
}

fn tokens(attributes: &[KeyValue], names: &[&str]) -> Result<Option<i64>, Rejection> {
    match names.iter().find_map(|name| find(attributes, name)) {
        Some(Value::IntValue(count)) => {
            let counted = u64::try_from(*count).is_ok_and(|count| count <= COUNTER_MAX);
            counted.then_some(Some(*count)).ok_or(Rejection::Counts)
        }
        _ => Ok(None),
    }
}

fn number(attributes: &[KeyValue], name: &str) -> Option<f64> {
    match find(attributes, name)? {
        Value::DoubleValue(number) => Some(*number).filter(|number| number.is_finite()),
        Value::IntValue(number) => Some(*number as f64),
        _ => None,
    }
}

/// How many attributes and events of a span hold what was asked or answered.
fn content(span: &Span) -> u64 {
    let is_content = |name: &str| CONTENT.iter().any(|known| name.starts_with(known));
    let held = |attributes: &[KeyValue]| attributes.iter().any(|held| is_content(&held.key));
    let own = span
        .attributes
        .iter()
        .filter(|attribute| is_content(&attribute.key));
    let events = span.events.iter();
    let events = events.filter(|event| is_content(&event.name) || held(&event.attributes));
    (own.count() + events.count()) as u64
}

#[cfg(test)]
mod tests;
