//! The collector under load: a process of its own on loopback. In: its binary and a data folder.
//! Out: addresses that stay the same over all its lives, what it costs, and answers to SQL. Never:
//! looks into its files; what is stored is asked for.

use std::{
    fs::{self, File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Longest wait until the collector is ready: a replay of everything may come first.
const READY_LIMIT: Duration = Duration::from_secs(600);

/// Every device's rows are read back and held against what it sent: more than a stranger may ask.
const READING_BACK: &str = "[privacy]
min_devices = 1

[sql]
memory_bytes = 4294967296
deadline = \"10min\"
";

/// The kernel's unit of CPU time, fixed for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Collector {
    binary: PathBuf,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    ports: [u16; 3],
    child: Option<Child>,
    /// CPU time of lives that have ended.
    spent_s: f64,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) cpu_s: f64,
    pub(crate) peak_mib: f64,
}

impl Collector {
    /// A collector over `folder`, not started yet.
    pub(crate) fn new(binary: PathBuf, folder: &Path, config: &str) -> anyhow::Result<Self> {
        let path = folder.join("fathomline.toml");
        fs::write(&path, format!("{config}\n{READING_BACK}"))?;
        Ok(Self {
            binary,
            config: path,
            data: folder.join("data"),
            log: folder.join("log.txt"),
            ports: free_ports()?,
            child: None,
            spent_s: 0.0,
        })
    }

    pub(crate) fn http(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    pub(crate) fn otlp_http(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    pub(crate) fn otlp_grpc(&self) -> String {
        format!("127.0.0.1:{}", self.ports[2])
    }

    /// Starts it and returns how long it took until it was ready.
    pub(crate) fn start(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let child = Command::new(&self.binary)
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .arg("--data")
            .arg(&self.data)
            .args(["--http", &self.http()])
            .args(["--otlp-http", &self.otlp_http()])
            .args(["--otlp-grpc", &self.otlp_grpc()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        self.child = Some(child.with_context(|| format!("cannot run {}", self.binary.display()))?);
        let ready = format!("http://{}/readyz", self.http());
        while !ureq::get(&ready)
            .call()
            .is_ok_and(|answer| answer.status() == 200)
        {
            let ended = self
                .child
                .as_mut()
                .is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
            if ended || began.elapsed() > READY_LIMIT {
                bail!("the collector is not ready; it said:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed())
    }

    /// SIGKILL, at whatever it is doing.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.spent_s = self.cost().cpu_s;
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and a wait for the end.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &self.child {
            let told = Command::new("kill").arg(child.id().to_string()).status()?;
            if !told.success() {
                bail!("cannot stop the collector");
            }
        }
        self.spent_s = self.cost().cpu_s;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// CPU time over all its lives, and the peak of this one.
    pub(crate) fn cost(&self) -> Cost {
        let now = self
            .child
            .as_ref()
            .map(|child| cost_of(&child.id().to_string()));
        let now = now.unwrap_or_default();
        Cost {
            cpu_s: self.spent_s + now.cpu_s,
            ..now
        }
    }

    /// The first row of an answer.
    pub(crate) fn ask(&self, sql: &str) -> anyhow::Result<Vec<Value>> {
        let token = fs::read_to_string(self.data.join("admin.token")).unwrap_or_default();
        let answer = ureq::post(format!("http://{}/api/v1/sql", self.http()))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", token.trim()))
            .config()
            .http_status_as_error(false)
            .build()
            .send(json!({ "query": sql }).to_string());
        let text = answer?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let row = answer["rows"][0].as_array().cloned();
        row.with_context(|| format!("{sql}: {text}"))
    }

    /// Bytes and files below the folder of the tables.
    pub(crate) fn stored(&self) -> (u64, u64) {
        size(&self.data.join("tables"))
    }

    /// The newest segment of its log, with nobody writing to it.
    pub(crate) fn newest_segment(&self) -> anyhow::Result<Option<File>> {
        let entries = fs::read_dir(self.data.join("log"))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let newest = paths
            .filter(|path| path.extension().is_some_and(|e| e == "wal"))
            .max();
        let open = |path: PathBuf| OpenOptions::new().read(true).write(true).open(path);
        Ok(newest.map(open).transpose()?)
    }

    /// The end of its log, for people.
    pub(crate) fn said(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Whoever ends early must not leave it behind; there is nobody to tell.
        let _ = self.kill();
    }
}

/// What process `id` has used; `self` is this one.
pub(crate) fn cost_of(id: &str) -> Cost {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    let ticks = |index: usize| -> f64 {
        let field = fields.get(index).and_then(|field| field.parse().ok());
        field.unwrap_or(0.0)
    };
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Cost {
        cpu_s: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
        peak_mib: kib.unwrap_or(0.0) / 1024.0,
    }
}

/// Ports nobody listens on at this moment.
pub(crate) fn free_ports() -> anyhow::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

fn size(folder: &Path) -> (u64, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold((0, 0), |(bytes, files), entry| {
        let path = entry.path();
        if path.is_dir() {
            let (more, others) = size(&path);
            (bytes + more, files + others)
        } else {
            let length = entry.metadata().map_or(0, |metadata| metadata.len());
            (bytes + length, files + 1)
        }
    })
}
