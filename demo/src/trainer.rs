//! The trainer: what a team would run to answer Fathomline's requests. Owns the conversation over
//! one request: accepted, running, succeeded or failed, each signed. In: a request whose signature
//! held. Out: the new version's weights in a folder, and news for whoever tells the story. A request
//! that comes again is not trained for again.

use std::{collections::HashSet, ops::ControlFlow, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use fathomline_wire::event::{Callback, CallbackStatus, RetrainingRequested};
use reqwest::{
    Client,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::{sync::mpsc, task, time::sleep};

use crate::{
    clock,
    receiver::Secret,
    train::{self, Course, Outcome, Plan, Progress},
};

/// The version that it makes.
pub const VERSION: &str = "2.0.0";
/// Steps after which the new season is spoken as well as the old one.
pub const STEPS: usize = 2_250;
/// A version that answers less of either season is none.
const ACCURACY_MIN: f64 = 0.9;
/// A machine that needs longer is too busy for the story.
const TIME_LIMIT: Duration = Duration::from_secs(1_800);
/// Enough for a figure in the story, few enough that nobody waits for it.
const EXAM_REQUESTS: usize = 200;
/// How often a report is tried, and the pause in between.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the trainer tells those who watch it.
pub enum News {
    /// The collector took a report.
    Reported(CallbackStatus),
    Learned(Progress),
    Made(Box<Outcome>),
    GaveUp(anyhow::Error),
}

/// Waits for requests.
pub struct Trainer {
    secret: Secret,
    plan: Plan,
    seen: HashSet<String>,
    told: mpsc::UnboundedSender<News>,
    pub news: mpsc::UnboundedReceiver<News>,
}

impl Trainer {
    /// A trainer that signs with `secret` and writes into `out`.
    pub fn new(secret: Secret, seed: u64, out: PathBuf) -> Self {
        let (told, news) = mpsc::unbounded_channel();
        let plan = Plan {
            course: Course::NewSeason,
            seed,
            steps: STEPS,
            target_accuracy: ACCURACY_MIN,
            time_limit: TIME_LIMIT,
            exam_requests: EXAM_REQUESTS,
            out,
        };
        Self {
            secret,
            plan,
            seen: HashSet::new(),
            told,
            news,
        }
    }

    /// Where the new version's weights are once it is made.
    pub fn folder(&self) -> PathBuf {
        self.plan.out.clone()
    }

    /// Begins to answer a request; whether it had not come before.
    pub fn begin(&mut self, request: &RetrainingRequested) -> bool {
        if !self.seen.insert(request.request.clone()) {
            return false;
        }
        let desk = Desk {
            request: request.request.clone(),
            callback: request.callback.clone(),
            secret: self.secret.clone(),
            told: self.told.clone(),
        };
        let plan = self.plan.clone();
        tokio::spawn(async move {
            if let Err(error) = desk.answer(plan).await {
                desk.tell(News::GaveUp(error));
            }
        });
        true
    }
}

/// One request at work.
struct Desk {
    request: String,
    callback: String,
    secret: Secret,
    told: mpsc::UnboundedSender<News>,
}

impl Desk {
    async fn answer(&self, plan: Plan) -> Result<()> {
        self.report(CallbackStatus::Accepted).await?;
        self.report(CallbackStatus::Running).await?;
        let told = self.told.clone();
        let target = plan.target_accuracy;
        let training = task::spawn_blocking(move || {
            train::run(
                &plan,
                &mut |progress| match told.send(News::Learned(progress)) {
                    Ok(()) => ControlFlow::Continue(()),
                    // The story is over, and nobody waits for the version.
                    Err(_) => ControlFlow::Break(()),
                },
            )
        });
        let outcome = training.await.map_err(|_| anyhow!("the training panicked"));
        match outcome.and_then(|outcome| good_enough(outcome?, target)) {
            Ok(outcome) => {
                self.tell(News::Made(Box::new(outcome)));
                self.report(CallbackStatus::Succeeded).await
            }
            Err(error) => {
                self.report(CallbackStatus::Failed).await?;
                Err(error)
            }
        }
    }

    /// Says how far it is; a collector that is busy is told again.
    async fn report(&self, status: CallbackStatus) -> Result<()> {
        let callback = Callback {
            status,
            version: (status == CallbackStatus::Succeeded).then(|| VERSION.to_owned()),
            reason: (status == CallbackStatus::Failed).then(|| "training".to_owned()),
        };
        let body = serde_json::to_string(&callback)?;
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let mut tried = 0;
        loop {
            tried += 1;
            // Each attempt is signed anew: its time must be recent.
            let headers = self.signed(status, &body)?;
            let request = client.post(&self.callback).headers(headers);
            match request.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) if !answer.status().is_server_error() || tried == TRIES => {
                    let (code, text) = (answer.status(), answer.text().await.unwrap_or_default());
                    bail!("the collector answered a report {status:?} with {code}: {text}");
                }
                Err(error) if tried == TRIES => {
                    return Err(error).with_context(|| format!("cannot report {status:?}"));
                }
                Ok(_) | Err(_) => sleep(PAUSE).await,
            }
        }
        self.tell(News::Reported(status));
        Ok(())
    }

    fn signed(&self, status: CallbackStatus, body: &str) -> Result<HeaderMap> {
        let id = format!("{}-{status:?}", self.request);
        let now_s = clock::now_us() / 1_000_000;
        let signature = self.secret.sign(&id, now_s, body.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", HeaderValue::try_from(id)?);
        headers.insert("webhook-timestamp", HeaderValue::from(now_s));
        headers.insert("webhook-signature", HeaderValue::try_from(signature)?);
        Ok(headers)
    }

    fn tell(&self, news: News) {
        // A story that is over no longer listens.
        let _ = self.told.send(news);
    }
}

fn good_enough(outcome: Outcome, target: f64) -> Result<Outcome> {
    let accuracy = outcome.progress.accuracy.unwrap_or(0.0);
    if accuracy < target {
        bail!(
            "after {} steps only {:.1} % of a season are answered right, {:.0} % were asked for",
            outcome.progress.step,
            100.0 * accuracy,
            100.0 * target
        );
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{Arc, Mutex},
    };

    use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
    use fathomline_wire::event::{Brief, Budget};
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Clone)]
    struct Collector {
        secret: Secret,
        heard: Arc<Mutex<Vec<String>>>,
    }

    async fn status(State(of): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let now_s = clock::now_us() / 1_000_000;
        let mut heard = of.heard.lock().unwrap();
        if heard.is_empty() {
            heard.push("busy".to_owned());
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        match of.secret.verify(&headers, &body, now_s) {
            Err(_) => StatusCode::UNAUTHORIZED,
            Ok(_) => {
                heard.push(String::from_utf8_lossy(&body).into_owned());
                StatusCode::OK
            }
        }
    }

    async fn listen(secret: Secret) -> (String, Collector) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/status", listener.local_addr().unwrap());
        let collector = Collector {
            secret,
            heard: Arc::default(),
        };
        let router = Router::new().route("/status", post(status));
        let router = router.with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, collector)
    }

    fn request(callback: String) -> RetrainingRequested {
        RetrainingRequested {
            request: "rtr_1".into(),
            service: "maintenance".into(),
            model: "assistant".into(),
            version: "1.4.0".into(),
            requested_by: "drift".into(),
            cause: None,
            brief: Brief::default(),
            budget: Budget {
                left: 0,
                period_s: 1,
                cooldown_s: 1,
            },
            callback,
            link: None,
        }
    }

    /// A training of two steps cannot be good: what is told then is that it failed.
    #[tokio::test]
    async fn a_request_is_answered_once_with_signed_reports_and_a_poor_version_is_none() {
        let secret = Secret::random();
        let (url, collector) = listen(secret.clone()).await;
        let out = tempfile::tempdir().unwrap();
        let mut trainer = Trainer::new(secret, 1, out.path().join("2"));
        (trainer.plan.steps, trainer.plan.exam_requests) = (2, 1);
        assert!(trainer.begin(&request(url.clone())));
        assert!(!trainer.begin(&request(url)));
        let error = loop {
            match trainer.news.recv().await.unwrap() {
                News::GaveUp(error) => break error.to_string(),
                News::Made(_) => panic!("two steps make no version"),
                News::Reported(_) | News::Learned(_) => {}
            }
        };
        assert!(error.contains("after 2 steps only"), "{error}");
        let heard = collector.heard.lock().unwrap().clone();
        let failed = r#"{"status":"failed","reason":"training"}"#;
        let expected = [
            "busy",
            r#"{"status":"accepted"}"#,
            r#"{"status":"running"}"#,
            failed,
        ];
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn a_refused_report_ends_it() {
        let (url, collector) = listen(Secret::random()).await;
        collector.heard.lock().unwrap().push("idle".to_owned());
        let mut trainer = Trainer::new(Secret::random(), 1, PathBuf::new());
        trainer.begin(&request(url));
        match trainer.news.recv().await.unwrap() {
            News::GaveUp(error) => assert!(error.to_string().contains("401"), "{error}"),
            _ => panic!("a report that nobody took is no news"),
        }
    }
}
