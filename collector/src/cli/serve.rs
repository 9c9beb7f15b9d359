//! `fathomline serve`: configuration, build, run, drain.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use fathomline_collector::{Collector, Config, Running};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Data folder [default: ./fathomline-data].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Dashboard and API [default: 127.0.0.1:8330].
    #[arg(long)]
    http: Option<SocketAddr>,
    /// OTLP over gRPC [default: 127.0.0.1:4317].
    #[arg(long)]
    otlp_grpc: Option<SocketAddr>,
    /// OTLP over HTTP [default: 127.0.0.1:4318].
    #[arg(long)]
    otlp_http: Option<SocketAddr>,
    /// Listen beyond loopback without authentication.
    #[arg(long)]
    insecure: bool,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        log_to_stderr();
        let config = self.config()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let running = Collector::start(config).await?;
            announce(&running)?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted?,
                _ = terminate.recv() => {}
            }
            running.drain().await;
            Ok(ExitCode::SUCCESS)
        })
    }

    fn config(self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        config.data = self.data.unwrap_or(config.data);
        config.http = self.http.unwrap_or(config.http);
        config.otlp_http = self.otlp_http.unwrap_or(config.otlp_http);
        config.otlp_grpc = self.otlp_grpc.unwrap_or(config.otlp_grpc);
        config.insecure |= self.insecure;
        Ok(config)
    }
}

/// Our own rooms at `info`, dependencies at `warn`; `RUST_LOG` overrides both.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,fathomline=info,fathomline_collector=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
}

/// The addresses in force, one a line, for people and for scripts.
fn announce(running: &Running) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "dashboard http://{}", running.http)?;
    writeln!(out, "otlp/http http://{}", running.otlp_http)?;
    writeln!(out, "otlp/grpc http://{}", running.otlp_grpc)?;
    out.flush()
}
