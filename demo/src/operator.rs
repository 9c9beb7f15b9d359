//! The demo as its own operator: asks what anyone with the admin token can ask a collector over
//! HTTP. Owns that client. In: questions. Out: rows, verdicts, frozen references, what the gate and
//! the retraining say. Never reaches into the collector that runs in the same program.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::sleep;

/// A busy machine answers late; one that hangs is told apart from it by this.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How often a question is asked before its error is believed, and the pause in between.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// Verdicts of one answer: the most that the collector gives.
const VERDICTS_MAX: usize = 1_000;

/// Asks one collector.
pub struct Operator {
    client: Client,
    base: String,
    token: String,
}

/// A verdict, as far as the story tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    pub id: i64,
    /// End of the lane.
    pub time_us: i64,
    pub device_class: String,
    pub version: String,
    pub metric: String,
    pub state: String,
    pub score: Option<f64>,
    pub threshold: Option<f64>,
    pub count: i64,
    pub devices: i64,
    /// RFC 3339.
    pub since: Option<String>,
    pub reference: Option<String>,
}

#[derive(Deserialize)]
struct Verdicts {
    verdicts: Vec<Verdict>,
}

/// What became of a request to freeze.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    pub references: Vec<Frozen>,
    pub shortfalls: Vec<Missing>,
}

/// A frozen reference.
#[derive(Clone, Debug, Deserialize)]
pub struct Frozen {
    pub hash: String,
    pub records: u64,
}

/// A series that has too little for one.
#[derive(Clone, Debug, Deserialize)]
pub struct Missing {
    pub name: String,
    pub shortfall: String,
}

/// A version on its way to a whole class.
#[derive(Clone, Debug, Serialize)]
pub struct Rollout {
    pub model: &'static str,
    pub service: &'static str,
    pub candidate: &'static str,
    pub against: &'static str,
    /// The metric that must get better.
    pub improve: String,
}

#[derive(Deserialize)]
struct Begun {
    id: i64,
}

/// What the gate says of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// `promote`, `rollback` or `hold`.
    pub decision: String,
    pub reason: String,
}

/// How far a request to train is.
#[derive(Clone, Debug, Deserialize)]
pub struct Retraining {
    pub state: String,
    /// What the last look at the new version found.
    pub proof: Option<String>,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Vec<Value>>,
}

impl Operator {
    /// Reads the admin token from the collector's data folder, as a person would.
    pub fn new(http: SocketAddr, data_folder: &Path) -> Result<Self> {
        let path = data_folder.join("admin.token");
        let token = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the admin token {}", path.display()))?;
        Ok(Self {
            client: Client::builder().timeout(TIMEOUT).no_proxy().build()?,
            base: format!("http://{http}/api/v1"),
            token: token.trim().to_owned(),
        })
    }

    /// Rows of a query over everything acknowledged.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<Value>>> {
        let query = json!({ "query": sql });
        let request = || self.client.post(self.url("sql")).json(&query);
        let answer: Rows = self.ask(request).await?;
        Ok(answer.rows)
    }

    /// All verdicts after row `id`, oldest first.
    pub async fn verdicts_after(&self, id: i64) -> Result<Vec<Verdict>> {
        let mut all: Vec<Verdict> = vec![];
        loop {
            let after = all.last().map_or(id, |last| last.id);
            let url = self.url(&format!("verdicts?after={after}&limit={VERDICTS_MAX}"));
            let Verdicts { verdicts } = self.ask(|| self.client.get(&url)).await?;
            let full = verdicts.len() == VERDICTS_MAX;
            all.extend(verdicts);
            if !full {
                return Ok(all);
            }
        }
    }

    /// Freezes a reference for every series of `model` that has enough in the span.
    pub async fn freeze(&self, model: &str, from_us: i64, to_us: i64) -> Result<Answer> {
        let span = json!({ "model": model, "from_us": from_us, "to_us": to_us });
        let request = || self.client.post(self.url("references")).json(&span);
        self.ask(request).await
    }

    /// Declares a rollout; its number.
    pub async fn begin(&self, rollout: &Rollout) -> Result<i64> {
        let begun = self.ask(|| self.client.post(self.url("rollouts")).json(rollout));
        let Begun { id } = begun.await?;
        Ok(id)
    }

    /// Whether a rollout may go on in one class.
    pub async fn gate(&self, rollout: &Rollout, class: &str) -> Result<Gate> {
        let url = self.url("gate");
        let question = [("class", class)];
        self.ask(|| self.client.get(&url).query(rollout).query(&question))
            .await
    }

    /// Ends a rollout as `promoted` or `rolled_back`.
    pub async fn finish(&self, rollout: i64, outcome: &str) -> Result<()> {
        let url = self.url(&format!("rollouts/{rollout}/finish"));
        let outcome = json!({ "outcome": outcome });
        let Begun { .. } = self.ask(|| self.client.post(&url).json(&outcome)).await?;
        Ok(())
    }

    /// How far a request to train is.
    pub async fn retraining(&self, request: &str) -> Result<Retraining> {
        let url = self.url(&format!("retraining/{request}"));
        self.ask(|| self.client.get(&url)).await
    }

    /// A page as a browser would get it, without a token.
    pub async fn page(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.base.trim_end_matches("/api/v1"));
        let mut tried = 0;
        loop {
            tried += 1;
            let page = self.client.get(&url).send().await;
            match page.and_then(Response::error_for_status) {
                Ok(page) => return Ok(page.text().await?),
                Err(error) if tried == TRIES => {
                    return Err(error).with_context(|| format!("cannot look at {url}"));
                }
                // A busy machine makes pages late, as it does answers.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// Asks again where the answer was late or the collector had a fault; refusals stand.
    async fn ask<T: DeserializeOwned>(&self, request: impl Fn() -> RequestBuilder) -> Result<T> {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match request().bearer_auth(&self.token).send().await {
                Ok(response) if may_pass(response.status()) => told(response).await,
                Ok(response) => return read(response).await,
                Err(error) => anyhow::Error::from(error).context("the collector cannot be asked"),
            };
            if tried == TRIES {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    let status = response.status();
    // Too little for any reference is an answer of its own, with status 422.
    if !status.is_success() && status != StatusCode::UNPROCESSABLE_ENTITY {
        return Err(told(response).await);
    }
    let text = response.text().await.context("the answer broke off")?;
    match serde_json::from_str(&text) {
        Ok(answer) => Ok(answer),
        Err(_) if !status.is_success() => bail!("the collector answered {status}: {text}"),
        Err(error) => Err(error).with_context(|| format!("cannot read the answer {text}")),
    }
}

async fn told(response: Response) -> anyhow::Error {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    anyhow::anyhow!("the collector answered {status}: {text}")
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, http::StatusCode as Status, routing::post};
    use tokio::net::TcpListener;

    use super::*;

    /// A collector that gives the same answer to every query, after `faults` faults.
    async fn answering(status: Status, body: &'static str, faults: usize) -> Operator {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = std::sync::Arc::new(AtomicUsize::new(0));
        let answer = move || {
            let faulty = asked.fetch_add(1, Ordering::Relaxed) < faults;
            let fault = (Status::INTERNAL_SERVER_ERROR, "busy");
            async move { if faulty { fault } else { (status, body) } }
        };
        let router = Router::new()
            .route("/api/v1/sql", post(answer.clone()))
            .route("/api/v1/references", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("admin.token"), "secret\n").unwrap();
        Operator::new(address, folder.path()).unwrap()
    }

    #[tokio::test]
    async fn a_fault_is_asked_again_and_a_refusal_is_not() {
        let rows = answering(Status::OK, r#"{"rows":[[1]]}"#, 1).await;
        assert_eq!(rows.rows("SELECT 1").await.unwrap(), [[json!(1)]]);
        let refusing = answering(Status::BAD_REQUEST, "no such table", 0).await;
        let error = refusing.rows("SELECT x").await.unwrap_err().to_string();
        assert!(
            error.contains("400") && error.contains("no such table"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn too_little_for_a_reference_is_an_answer() {
        let body = r#"{"references":[],"shortfalls":[{"name":"kiosk","shortfall":"12 records"}]}"#;
        let operator = answering(Status::UNPROCESSABLE_ENTITY, body, 0).await;
        let answer = operator.freeze("assistant", 1, 2).await.unwrap();
        assert_eq!((answer.references.len(), answer.shortfalls.len()), (0, 1));
        let body = r#"{"error":{"code":"reference","message":"too large"}}"#;
        let operator = answering(Status::UNPROCESSABLE_ENTITY, body, 0).await;
        let error = operator.freeze("assistant", 1, 2).await.unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn a_missing_token_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let error = Operator::new(address, folder.path()).err().unwrap();
        assert!(error.to_string().contains("admin.token"), "{error}");
    }
}
