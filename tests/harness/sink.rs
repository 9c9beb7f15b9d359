//! Receives webhooks. In: deliveries on a loopback port, and how many to refuse first. Out: what
//! arrived, headers and bytes. Knows nothing of signatures: a foreign library checks those.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tempfile::NamedTempFile;

/// One attempt to deliver, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Header names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// What the sink answered.
    pub(crate) status: u16,
}

impl Delivery {
    pub(crate) fn id(&self) -> &str {
        self.headers.get("webhook-id").map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a webhook's body is JSON")
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let deliveries = Arc::new(Mutex::new(vec![]));
        let received = Arc::clone(&deliveries);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks delivers nothing; the sender will try again.
                let _ = receive(stream, refusals, &received);
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
        format!(
            "[alert]\nallow_internal = true\nretry = [\"0s\", \"1s\", \"1s\", \"1s\"]\n\
             [[alert.endpoints]]\nname = \"sink\"\nurl = \"{}\"\nsecret_file = \"{}\"\n",
            self.url,
            self.secret.path().display()
        )
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
    refusals: usize,
    deliveries: &Mutex<Vec<Delivery>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
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
    let mut deliveries = deliveries.lock().unwrap();
    let status = if deliveries.len() < refusals {
        500
    } else {
        200
    };
    deliveries.push(Delivery {
        headers,
        body,
        status,
    });
    drop(deliveries);
    let reason = if status == 200 {
        "OK"
    } else {
        "Internal Server Error"
    };
    let reply =
        format!("HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    (&stream).write_all(reply.as_bytes())
}
