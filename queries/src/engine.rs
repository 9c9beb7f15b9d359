//! Runs questions. In: SQL, ours from `sql/` or a stranger's, and the lake. Out: rows.
//!
//! Every query sees one [`View`](crate::lake::View), reads only, and is bounded in time and
//! memory. What reads is judged by its plan and not by its text, because `EXPLAIN ANALYZE INSERT`
//! reads like a question and writes. Strangers and our own pages draw on separate memory, so that
//! a greedy query cannot starve the watcher. Never: writes, files named in a query, spilling.

mod answer;
mod bench;
pub mod coarse;
pub mod committed;
mod session;

use std::{sync::Arc, time::Duration};

use datafusion::{
    arrow::record_batch::RecordBatch,
    common::{DataFusionError, ParamValues, ScalarValue, runtime::SpawnedTask},
    dataframe::DataFrame,
    execution::SessionState,
    logical_expr::LogicalPlan,
    prelude::{SQLOptions, SessionContext},
    sql::sqlparser::{
        dialect::GenericDialect,
        tokenizer::{Token, Tokenizer},
    },
};
use futures::{StreamExt, future::BoxFuture};
use tokio::sync::Semaphore;

use self::{answer::AnswerBuilder, session::Caller};
pub use self::{
    answer::{Answer, AnswerColumn},
    bench::bench,
};
use crate::{catalog::Question, lake::Lake, published::Publication};

/// Longest query (64 KiB): more is a program, and planning cannot be interrupted.
const SQL_BYTES_MAX: usize = 64 << 10;

/// Most words and signs of a stranger's query. Planners walk long chains of operators by recursion
/// and run out of stack at some thousands, which would end the process and not the query.
const SQL_TOKENS_MAX: usize = 1_500;

/// Most steps of a stranger's plan: a chain of common table expressions that each use the one
/// before twice is short to write and has no end to plan.
const PLAN_STEPS_MAX: usize = 500;

/// Strangers' queries that run at once; others wait, and the wait counts towards their deadline.
const STRANGERS_MAX: usize = 4;

/// What a query may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Memory of all strangers' queries together, and once more for all of ours. Sorts, joins and
    /// groups count; what one scalar function allocates for one batch does not.
    pub memory_bytes: usize,
    /// From arrival to the last row.
    pub deadline: Duration,
    /// Rows given to a stranger; the rest is cut off and the answer says so.
    pub rows_max: usize,
}

impl Default for EngineLimits {
    /// 256 MiB, 30 seconds, 10,000 rows.
    fn default() -> Self {
        let deadline = Duration::from_secs(30);
        Self {
            memory_bytes: 256 << 20,
            deadline,
            rows_max: 10_000,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is too long to be planned.
    #[error("cannot read a query of {0} bytes; {SQL_BYTES_MAX} are the most")]
    TooLong(usize),
    /// The query is not SQL, or names what is not there.
    #[error("cannot plan the query: {0}")]
    Plan(String),
    /// The query would change something.
    #[error("refused, because queries may only read: {0}")]
    ReadOnly(String),
    /// The deadline passed; the work was stopped.
    #[error("stopped after {0:?}, the most a query may take; ask for less time or fewer columns")]
    Deadline(Duration),
    /// The memory limit was reached.
    #[error("stopped at the memory limit; ask for less time or fewer groups: {0}")]
    Memory(String),
    /// The rows would not fit into the memory limit.
    #[error("the answer has more than {0} bytes; ask for fewer columns or aggregate")]
    TooLarge(usize),
    /// The query was fine and still failed.
    #[error("the query failed: {0}")]
    Failed(String),
}

impl QueryError {
    /// Stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "sql_too_long",
            Self::Plan(_) => "sql_invalid",
            Self::ReadOnly(_) => "sql_read_only",
            Self::Deadline(_) => "sql_deadline",
            Self::Memory(_) => "sql_memory",
            Self::TooLarge(_) => "sql_too_large",
            Self::Failed(_) => "sql_failed",
        }
    }

    pub(crate) fn plan(error: &DataFusionError) -> Self {
        Self::Plan(error.strip_backtrace())
    }

    pub(crate) fn run(error: &DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(what) => Self::Memory(what.clone()),
            _ => Self::Failed(error.strip_backtrace()),
        }
    }
}

/// Answers questions about one lake.
#[derive(Debug)]
pub struct Engine {
    lake: Arc<Lake>,
    limits: EngineLimits,
    publication: Publication,
    ours: SessionState,
    strangers: SessionState,
    admitted: Semaphore,
}

impl Engine {
    /// An engine over `lake` that shows what `publication` lets through, to strangers and to our
    /// own pages alike.
    ///
    /// # Errors
    /// When the limits cannot be set up.
    pub fn new(
        lake: Arc<Lake>,
        limits: EngineLimits,
        publication: Publication,
    ) -> Result<Self, QueryError> {
        let state = |caller| session::template(caller, limits.memory_bytes);
        Ok(Self {
            ours: state(Caller::Ours).map_err(|error| QueryError::run(&error))?,
            strangers: state(Caller::Stranger).map_err(|error| QueryError::run(&error))?,
            admitted: Semaphore::new(STRANGERS_MAX),
            lake,
            limits,
            publication,
        })
    }

    /// The lake that is asked.
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// What is shown.
    pub fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Answers a stranger's SQL, cut at the row limit.
    ///
    /// # Errors
    /// When the query is invalid, would write, or reaches a limit.
    pub fn query_outside<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Answer, QueryError>> {
        Box::pin(self.answered(sql))
    }

    async fn answered(&self, sql: &str) -> Result<Answer, QueryError> {
        if sql.len() > SQL_BYTES_MAX {
            return Err(QueryError::TooLong(sql.len()));
        }
        check_length(sql)?;
        let context = self.session(&self.strangers)?;
        let (sql, limits) = (sql.to_owned(), self.limits);
        let folds = self.publication.folds();
        self.in_time(async {
            let admitted = self.admitted.acquire().await;
            let _admitted = admitted.map_err(|error| QueryError::Failed(error.to_string()))?;
            run(answer(context, sql, limits, folds)).await
        })
        .await
    }

    /// Answers one of the questions in `sql/`, in full.
    ///
    /// Boxed, because an async function is compiled where it is awaited: every crate that asks
    /// would compile the query engine's part again.
    ///
    /// # Errors
    /// When a parameter is missing or of the wrong type, or a limit is reached.
    pub(crate) fn ask<'a>(
        &'a self,
        question: &'a Question,
        parameters: Vec<(&'static str, ScalarValue)>,
    ) -> BoxFuture<'a, Result<Vec<RecordBatch>, QueryError>> {
        Box::pin(async move {
            let context = self.session(&self.ours)?;
            let parameters = ParamValues::from(parameters);
            let work = run(rows(context, question.sql, parameters));
            self.in_time(work).await
        })
    }

    /// A new session over one view of all tables.
    fn session(&self, template: &SessionState) -> Result<SessionContext, QueryError> {
        let view = self.lake.view();
        let tables = self.publication.tables(&view);
        session::over(template, tables).map_err(|error| QueryError::run(&error))
    }

    /// Whoever waits gets an answer in time, even where the work does not yield for a while.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let deadline = self.limits.deadline;
        tokio::time::timeout(deadline, work)
            .await
            .unwrap_or(Err(QueryError::Deadline(deadline)))
    }
}

/// Runs apart, so that a panic is an error and giving up stops the work: a dropped task is
/// aborted, which drops its stream, which aborts the tasks of its operators.
async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
) -> Result<T, QueryError> {
    let task = SpawnedTask::spawn(work);
    task.join()
        .await
        .unwrap_or_else(|error| Err(QueryError::Failed(error.to_string())))
}

async fn answer(
    context: SessionContext,
    sql: String,
    limits: EngineLimits,
    folds: bool,
) -> Result<Answer, QueryError> {
    let plan = plan(&context, &sql).await?;
    if folds {
        session::check_discreet(&plan).map_err(QueryError::Plan)?;
    }
    session::check_bounded(&plan, PLAN_STEPS_MAX).map_err(QueryError::Plan)?;
    let frame = DataFrame::new(context.state(), plan);
    let mut answer = AnswerBuilder::new(frame.schema().as_arrow(), limits);
    let mut batches = frame
        .execute_stream()
        .await
        .map_err(|error| QueryError::run(&error))?;
    while !answer.is_full()
        && let Some(batch) = batches.next().await
    {
        answer.add(&batch.map_err(|error| QueryError::run(&error))?)?;
    }
    Ok(answer.finish())
}

async fn rows(
    context: SessionContext,
    sql: &str,
    parameters: ParamValues,
) -> Result<Vec<RecordBatch>, QueryError> {
    let plan = plan(&context, sql).await?;
    let plan = plan
        .with_param_values(parameters)
        .map_err(|error| QueryError::plan(&error))?;
    let frame = DataFrame::new(context.state(), plan);
    frame
        .collect()
        .await
        .map_err(|error| QueryError::run(&error))
}

/// Counts tokens, not bytes: what the parser recurses over.
fn check_length(sql: &str) -> Result<(), QueryError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| QueryError::Plan(error.to_string()))?;
    let tokens = tokens
        .iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)));
    match tokens.count() {
        count if count <= SQL_TOKENS_MAX => Ok(()),
        count => Err(QueryError::Plan(format!(
            "it has {count} words and signs, and {SQL_TOKENS_MAX} are the most; split it, or filter \
             by a range instead of a list"
        ))),
    }
}

/// Plans, and refuses what would not only read.
async fn plan(context: &SessionContext, sql: &str) -> Result<LogicalPlan, QueryError> {
    let planned = context.state().create_logical_plan(sql).await;
    let plan = planned.map_err(|error| QueryError::plan(&error))?;
    let reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    reads
        .verify_plan(&plan)
        .map_err(|error| QueryError::ReadOnly(error.message().into_owned()))?;
    Ok(plan)
}

#[cfg(test)]
mod tests;
