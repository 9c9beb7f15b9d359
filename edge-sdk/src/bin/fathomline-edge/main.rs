//! The command for people who look after a device: what waits in a spool, exactly as it will be
//! sent, and whether a collector can be reached. In: arguments. Out: JSON lines or sentences.
//! Never changes a spool. Exit codes: 0 yes, 1 no, 2 error.

mod reach;
mod status;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use fathomline_edge::{Fathomline, Health, Waiting};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use serde_json::json;
use sha2::{Digest, Sha256};

const USAGE: &str = "\
usage: fathomline-edge inspect SPOOL          every waiting window as OTLP/JSON, one a line
       fathomline-edge inspect SPOOL --next   only the one that is sent next
       fathomline-edge inspect SPOOL --raw    the next upload's body, byte for byte
       fathomline-edge status SPOOL           what waits, and what the day has cost
       fathomline-edge send-test ENDPOINT [--token-env NAME]
                                              sends one empty window, with the token in the
                                              environment variable NAME (FATHOMLINE_TOKEN)
";

/// Where the token is, unless another variable is named.
const TOKEN: &str = "FATHOMLINE_TOKEN";

/// How long a test upload may take.
const SEND_LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["inspect", spool] => inspect(spool, usize::MAX),
        ["inspect", spool, "--next"] => inspect(spool, 1),
        ["inspect", spool, "--raw"] => raw(spool),
        ["status", spool] => status(spool),
        ["send-test", endpoint] => send_test(endpoint, TOKEN),
        ["send-test", endpoint, "--token-env", name] => send_test(endpoint, name),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nobody is left to be told when standard error is gone too.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

type Done = Result<bool, Box<dyn Error>>;

/// Yes when something waits.
fn inspect(spool: &str, most: usize) -> Done {
    let waiting = Waiting::in_spool(spool)?;
    let mut out = io::stdout().lock();
    for window in waiting.iter().take(most) {
        let request = ExportMetricsServiceRequest::decode(&window.body[..])?;
        let line = json!({
            "installation": window.identity.installation,
            "boot": window.identity.boot,
            "sequence": window.identity.sequence,
            "bytes": window.body.len(),
            "sha256": sha256(&window.body),
            "request": request,
        });
        writeln!(out, "{line}")?;
    }
    Ok(!waiting.is_empty())
}

fn raw(spool: &str) -> Done {
    let waiting = Waiting::in_spool(spool)?;
    let Some(next) = waiting.first() else {
        return Ok(false);
    };
    io::stdout().write_all(next.part.as_ref().unwrap_or(&next.body))?;
    Ok(true)
}

fn status(spool: &str) -> Done {
    let waiting = Waiting::in_spool(spool)?;
    status::write(&mut io::stdout().lock(), spool, &waiting)?;
    Ok(!waiting.is_empty())
}

/// Yes when the collector stored the window.
fn send_test(endpoint: &str, token: &str) -> Done {
    let spool = private_folder()?;
    let mut builder = Fathomline::builder("send-test", env!("CARGO_PKG_VERSION"))
        .endpoint(endpoint)
        .spool(&spool);
    if let Ok(secret) = std::env::var(token) {
        builder = builder.token(secret);
    }
    let health = builder.start()?.shutdown(SEND_LIMIT);
    if spool.exists() {
        std::fs::remove_dir_all(&spool)?;
    }
    writeln!(
        io::stdout(),
        "{endpoint}: {}",
        explained(health, endpoint, token)
    )?;
    Ok(health.windows_stored > 0)
}

/// A folder of nobody else's. The folder for temporary files is everybody's, and whoever guesses a
/// name there could have prepared it.
fn private_folder() -> io::Result<PathBuf> {
    let chance = getrandom::u64().map_err(io::Error::other)?;
    let folder = std::env::temp_dir().join(format!("fathomline-send-test-{chance:016x}"));
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Where no folder can be made the window is sent from memory.
        _ => Ok(folder),
    }
}

fn explained(health: Health, endpoint: &str, token: &str) -> String {
    match health.last_status {
        Some(status @ 200..=299) if health.windows_stored == 0 => {
            format!(
                "{status}: a web page answers, not a collector; log in to the network, or give \
                     the OTLP/HTTP port"
            )
        }
        Some(200..=299) => "stored one empty window of the service send-test".to_owned(),
        Some(400) => "400: this is not a collector of this contract, or a proxy in between \
                      changes bodies"
            .to_owned(),
        Some(status @ (401 | 403)) => {
            format!("{status}: the token is missing or not accepted; set {token}")
        }
        Some(404) => "404: nothing answers under /v1/metrics; give the OTLP/HTTP port".to_owned(),
        Some(413) => "413: a proxy in between takes smaller bodies only".to_owned(),
        Some(status @ (429 | 503)) => format!("{status}: the collector is busy; try again later"),
        Some(status) => format!("the answer was {status}, which is not OTLP's"),
        None => reach::explained(endpoint),
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
