//! Spans: one GenAI operation of a foreign SDK each. In: what intake admitted. Out: a batch in the
//! schema of `spans`. There is no column for a prompt, an answer, a span's name or its events, so
//! none of them can be stored.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, Int64Array},
    record_batch::RecordBatch,
};
use serde::{Deserialize, Serialize};

use super::{
    Clock,
    batch::{RowError, dates, floats, integers, optional_texts, texts, times},
};
use crate::schema::Table;

/// One operation: when, who, which model, how long, how many tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanRow {
    /// End, corrected.
    pub time: i64,
    /// Start, corrected.
    pub start_time: i64,
    /// End as the sender's clock had it.
    pub sender_time: i64,
    /// `service.name`.
    pub service: String,
    /// `deployment.environment.name`.
    pub environment: Option<String>,
    /// Installation id, or the instance of a foreign sender.
    pub device: String,
    /// `fathomline.device.class`.
    pub device_class: String,
    /// `fathomline.site`.
    pub site: Option<String>,
    /// `service.instance.id`.
    pub boot: Option<String>,
    /// Whether `time` can be trusted.
    pub clock: Clock,
    /// Sixteen bytes.
    pub trace_id: u128,
    /// Eight bytes.
    pub span_id: u64,
    /// The span around it, if there is one.
    pub parent_span_id: Option<u64>,
    /// On which side of a call.
    pub kind: SpanKind,
    /// How it ended.
    pub status: SpanStatus,
    /// `error.type`, if it failed.
    pub error_type: Option<String>,
    /// `gen_ai.operation.name`.
    pub operation: Option<String>,
    /// `gen_ai.provider.name`, or `gen_ai.system` of older senders.
    pub provider: Option<String>,
    /// `gen_ai.request.model`.
    pub model: String,
    /// `gen_ai.response.model`.
    pub response_model: Option<String>,
    /// `fathomline.model.version`.
    pub version: String,
    /// `fathomline.model.variant`.
    pub variant: String,
    /// `fathomline.model.quantization`.
    pub quantization: Option<String>,
    /// `gen_ai.response.finish_reasons`, joined by commas.
    pub finish_reasons: Option<String>,
    /// Tokens of the prompt.
    pub input_tokens: Option<i64>,
    /// Tokens that were generated.
    pub output_tokens: Option<i64>,
    /// Most tokens that were asked for.
    pub max_tokens: Option<i64>,
    /// Sampler setting that was asked for.
    pub temperature: Option<f64>,
    /// Sampler setting that was asked for.
    pub top_p: Option<f64>,
}

/// On which side of a call a span stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpanKind {
    /// The sender did not say.
    Unspecified,
    /// Within one process.
    Internal,
    /// The side that is asked.
    Server,
    /// The side that asks.
    Client,
    /// The side that writes to a queue.
    Producer,
    /// The side that reads from it.
    Consumer,
}

impl SpanKind {
    /// The value of the `kind` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// How an operation ended, as far as its sender said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpanStatus {
    /// Nothing was said, which usually means well.
    Unset,
    /// Well.
    Ok,
    /// Not well.
    Error,
}

impl SpanStatus {
    /// The value of the `status` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// Rows of `spans`.
///
/// # Errors
/// Only if columns and schema disagree.
pub fn spans(rows: &[SpanRow]) -> Result<RecordBatch, RowError> {
    let text = |of: fn(&SpanRow) -> &str| texts(rows.iter().map(of));
    let optional = |of: fn(&SpanRow) -> Option<&str>| optional_texts(rows.iter().map(of));
    let parents: Vec<_> = rows
        .iter()
        .map(|row| row.parent_span_id.map(|id| format!("{id:016x}")))
        .collect();
    let traces: Vec<_> = rows
        .iter()
        .map(|row| format!("{:032x}", row.trace_id))
        .collect();
    let ids: Vec<_> = rows
        .iter()
        .map(|row| format!("{:016x}", row.span_id))
        .collect();
    let columns = vec![
        times(rows.iter().map(|row| Some(row.time))),
        times(rows.iter().map(|row| Some(row.start_time))),
        times(rows.iter().map(|row| Some(row.sender_time))),
        dates(rows.iter().map(|row| row.time)),
        text(|row| &row.service),
        optional(|row| row.environment.as_deref()),
        text(|row| &row.device),
        text(|row| &row.device_class),
        optional(|row| row.site.as_deref()),
        optional(|row| row.boot.as_deref()),
        text(|row| row.clock.name()),
        texts(traces.iter().map(String::as_str)),
        texts(ids.iter().map(String::as_str)),
        optional_texts(parents.iter().map(Option::as_deref)),
        text(|row| row.kind.name()),
        text(|row| row.status.name()),
        optional(|row| row.error_type.as_deref()),
        optional(|row| row.operation.as_deref()),
        optional(|row| row.provider.as_deref()),
        text(|row| &row.model),
        optional(|row| row.response_model.as_deref()),
        text(|row| &row.version),
        text(|row| &row.variant),
        optional(|row| row.quantization.as_deref()),
        optional(|row| row.finish_reasons.as_deref()),
        integers(rows.iter().map(|row| row.time - row.start_time)),
        whole(rows, |row| row.input_tokens),
        whole(rows, |row| row.output_tokens),
        whole(rows, |row| row.max_tokens),
        floats(rows.iter().map(|row| row.temperature)),
        floats(rows.iter().map(|row| row.top_p)),
    ];
    Ok(RecordBatch::try_new(Table::Spans.arrow_schema(), columns)?)
}

fn whole(rows: &[SpanRow], of: fn(&SpanRow) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<Int64Array>())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{array::AsArray, datatypes::Int64Type};

    use super::*;
    use crate::{examples::span, schema::column};

    #[test]
    fn identifiers_keep_their_leading_zeros_and_durations_are_counted() {
        let row = SpanRow {
            trace_id: 0xab,
            span_id: 0xcd,
            parent_span_id: None,
            ..span()
        };
        let batch = spans(&[row]).unwrap();
        let text = |name: &str| batch[name].as_string::<i32>().value(0).to_owned();
        assert_eq!(text(column::TRACE_ID), format!("{:0>32}", "ab"));
        assert_eq!(text(column::SPAN_ID), format!("{:0>16}", "cd"));
        assert!(batch[column::PARENT_SPAN_ID].is_null(0));
        let took = batch[column::DURATION_US].as_primitive::<Int64Type>();
        assert_eq!(took.value(0), 1_000_000);
        assert_eq!(spans(&[]).unwrap().num_rows(), 0);
    }
}
