//! Receives webhooks. In: deliveries on a loopback port, and what to answer. Out: what arrived,
//! headers and bytes. Knows nothing of signatures: a foreign library checks those.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{program, workspace};

/// One attempt to deliver, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) path: String,
    /// Header names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// What the sink answered; 0 for nothing.
    pub(crate) status: u16,
}

/// What the sink does with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(u16),
    /// The status, and after how many seconds to come again.
    Later(u16, u32),
    /// To another path of the sink.
    Redirect,
    /// The status, after a while.
    Slowly(u16, Duration),
    /// Nothing, and after a while the connection ends.
    Silence(Duration),
}

impl Reply {
    const fn status(self) -> u16 {
        match self {
            Self::Status(status) | Self::Later(status, _) | Self::Slowly(status, _) => status,
            Self::Redirect => 302,
            Self::Silence(_) => 0,
        }
    }

    const fn wait(self) -> Duration {
        match self {
            Self::Slowly(_, wait) | Self::Silence(wait) => wait,
            Self::Status(_) | Self::Later(..) | Self::Redirect => Duration::ZERO,
        }
    }

    fn header(self) -> String {
        match self {
            Self::Later(_, seconds) => format!("retry-after: {seconds}\r\n"),
            Self::Redirect => "location: /elsewhere\r\n".to_owned(),
            Self::Status(_) | Self::Slowly(..) | Self::Silence(_) => String::new(),
        }
    }
}

/// What is answered to the delivery of this number, from 0.
type Script = dyn Fn(usize) -> Reply + Send + Sync;

impl Delivery {
    pub(crate) fn id(&self) -> &str {
        self.headers.get("webhook-id").map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a webhook's body is JSON")
    }

    /// Foreign software finds it signed with each of `secrets`, where that software is there.
    pub(crate) fn is_signed_with(&self, secrets: &[&str]) {
        let Some(python) = program::python_with(&["standardwebhooks"]) else {
            return;
        };
        let mut child = Command::new(python)
            .arg(workspace::root().join("tests/foreign/verify_webhook.py"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = json!({ "secrets": secrets, "headers": self.headers, "body": self.body });
        serde_json::to_writer(child.stdin.take().unwrap(), &told).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

/// What signs the deliveries: `whsec_` and 32 bytes in base64.
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A receiver of webhooks on a port of its own.
pub(crate) struct Sink {
    url: String,
    /// The collector reads secrets from files only.
    secret: NamedTempFile,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
}

impl Sink {
    /// Takes everything.
    pub(crate) fn open() -> Self {
        Self::refusing_first(0)
    }

    /// Answers 500 to the first `refusals` deliveries.
    pub(crate) fn refusing_first(refusals: usize) -> Self {
        Self::answering(move |number| Reply::Status(if number < refusals { 500 } else { 200 }))
    }

    /// Answers as `script` says.
    pub(crate) fn answering(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let deliveries = Arc::new(Mutex::new(vec![]));
        let received = Arc::clone(&deliveries);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, received) = (Arc::clone(&script), Arc::clone(&received));
                // A connection that breaks delivers nothing; the sender will try again.
                thread::spawn(move || receive(stream, script.as_ref(), &received));
            }
        });
        let mut secret = NamedTempFile::new().unwrap();
        secret.write_all(SECRET.as_bytes()).unwrap();
        Self {
            url,
            secret,
            deliveries,
        }
    }

    /// The section of a configuration that tells a collector of this sink. Retries come at once:
    /// a test has no four days.
    pub(crate) fn config(&self) -> String {
        self.config_with("retry = [\"0s\", \"1s\", \"1s\", \"1s\"]")
    }

    /// The same with other pauses, or more of section `alert`.
    pub(crate) fn config_with(&self, alert: &str) -> String {
        format!(
            "[alert]\nallow_internal = true\n{alert}\n\
             [[alert.endpoints]]\nname = \"sink\"\nurl = \"{}\"\nsecret_file = \"{}\"\n",
            self.url,
            self.secret.path().display()
        )
    }

    /// Changes what the file of the secret holds.
    pub(crate) fn write_secret(&self, text: &str) {
        std::fs::write(self.secret.path(), text).unwrap();
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    /// Deliveries that were taken, as events of type `kind`.
    pub(crate) fn taken(&self, kind: &str) -> Vec<Delivery> {
        let taken = self
            .deliveries()
            .into_iter()
            .filter(|delivery| delivery.status == 200);
        taken
            .filter(|delivery| delivery.json()["type"] == kind)
            .collect()
    }
}

fn receive(
    stream: TcpStream,
    script: &Script,
    deliveries: &Mutex<Vec<Delivery>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut taken = deliveries.lock().unwrap();
    let reply = script(taken.len());
    taken.push(Delivery {
        path,
        headers,
        body,
        status: reply.status(),
    });
    drop(taken);
    thread::sleep(reply.wait());
    let (status, header) = (reply.status(), reply.header());
    if status == 0 {
        return Ok(());
    }
    let head = format!("HTTP/1.1 {status} -\r\n{header}");
    let reply = format!("{head}content-length: 0\r\nconnection: close\r\n\r\n");
    (&stream).write_all(reply.as_bytes())
}
