//! What commands share that ask a running collector: where it is, the token, and its certificate.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longer than the collector's own deadline, so that its answer comes first.
const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(super) struct Asking {
    /// Ask a running collector: committed rows and those acknowledged a moment ago.
    #[arg(long, default_value = "http://127.0.0.1:8330", conflicts_with = "data")]
    url: String,
    /// Environment variable that holds a token, where reading needs one.
    #[arg(long, value_name = "NAME", default_value = "FATHOMLINE_TOKEN")]
    token_env: String,
    /// Trust these certificates (PEM) instead of the public ones.
    #[arg(long, value_name = "FILE")]
    root_certificate: Option<PathBuf>,
}

impl Asking {
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    pub(super) fn client(&self) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        if let Some(path) = &self.root_certificate {
            let named = || format!("cannot use --root-certificate {}", path.display());
            let pem = std::fs::read(path).with_context(named)?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).with_context(named)?;
            if roots.is_empty() {
                bail!("{}: it holds no certificate; give PEM", named());
            }
            builder = builder.tls_built_in_root_certs(false);
            builder = roots
                .into_iter()
                .fold(builder, |b, root| b.add_root_certificate(root));
        }
        Ok(builder.build()?)
    }

    /// The answer to a request, or the sentence that the collector refuses it with.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        url: &str,
    ) -> anyhow::Result<T> {
        let request = match std::env::var(&self.token_env) {
            Ok(token) => request.bearer_auth(token),
            Err(_) => request,
        };
        let response = request.send().await.with_context(|| {
            format!("cannot ask {url}; start `fathomline serve`, or read a folder with --data")
        })?;
        let status = response.status();
        if status.is_success() {
            let answer = response.json().await;
            return answer.with_context(|| format!("cannot read the answer of {url}"));
        }
        let refusal: Value = response.json().await.unwrap_or_default();
        match refusal["error"]["message"].as_str() {
            Some(message) => bail!("{message}"),
            None => bail!("{url} answered {status}; is it a Fathomline collector?"),
        }
    }
}
