//! The real binary on loopback, in a folder of its own. In: settings. Out: a house that can be
//! asked, fed, killed and opened again on the same data. When it is gone, its log must show no
//! panic: a house that panicked fails the test that owned it.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    clock::{eventually, until},
    device::Window,
    door::{self, Answer},
    program,
};

/// Enough of a log to see why a test failed.
const LOG_LINES_SHOWN: usize = 40;

/// How a house differs from the default.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// Sections of the configuration file, beyond what every house here needs.
    pub(crate) config: String,
    /// Where the collector stops and waits to be killed; debug builds only.
    pub(crate) stall_at: Option<&'static str>,
    /// Variables of its environment, such as credentials.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The data folder, if not beside the log.
    pub(crate) data: Option<PathBuf>,
}

impl Settings {
    /// The configuration file. Fleets of tests are small, so that one device is a group unless a
    /// test says otherwise.
    fn text(&self) -> String {
        match self.config.contains("[privacy]") {
            true => self.config.clone(),
            false => format!("{}\n[privacy]\nmin_devices = 1\n", self.config),
        }
    }
}

/// A collector with its data.
pub(crate) struct House {
    folder: TempDir,
    settings: Settings,
    running: Option<Running>,
}

struct Running {
    child: Child,
    addresses: Addresses,
}

/// Where the house listens, as it printed it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) otlp_http: String,
    pub(crate) otlp_grpc: String,
}

impl House {
    /// Opens a house with default settings and waits until it is ready.
    pub(crate) fn open() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let mut house = Self {
            folder: TempDir::new().unwrap(),
            settings,
            running: None,
        };
        house.start();
        house
    }

    /// Starts the collector on this house's data and waits until it is ready.
    fn start(&mut self) {
        let _ = fs::remove_file(self.data().join("stalled"));
        let log = self.log();
        let begins = log.len();
        let mut command = self.command();
        if let Some(point) = self.settings.stall_at {
            command.env("FATHOMLINE_STALL_AT", point);
        }
        let mut child = command.spawn().expect("the collector's binary runs");
        let addresses = eventually("the collector prints its addresses", || {
            let ended = child.try_wait().unwrap();
            let log = self.log();
            assert!(ended.is_none(), "the collector ended at start:\n{log}");
            Addresses::printed(&log[begins..])
        });
        let ready = format!("{}/readyz", addresses.http);
        // Under TLS only a test that has the authority can ask; addresses come last anyway.
        if !addresses.http.starts_with("https") {
            until("the collector is ready", || {
                door::get(&ready, &[]).is_ok_and(|answer| answer.status == 200)
            });
        }
        self.running = Some(Running { child, addresses });
    }

    fn command(&self) -> Command {
        let config = self.folder.path().join("fathomline.toml");
        fs::write(&config, self.settings.text()).unwrap();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = Command::new(program::path());
        command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(self.data())
            .args(["--http", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"])
            .args(["--otlp-grpc", "127.0.0.1:0"])
            .env("NO_COLOR", "1")
            .envs(self.settings.environment.clone())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// SIGKILL: no destructor, no flush, nothing.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
    }

    /// SIGTERM, and a wait until the process has ended by itself.
    pub(crate) fn end_politely(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        let pid = running.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(
            told.is_ok_and(|status| status.success()),
            "kill -TERM {pid}"
        );
        until("the collector ends", || {
            running.child.try_wait().unwrap().is_some()
        });
    }

    /// Kills the house and opens it again on what lies on its disk.
    pub(crate) fn reopen(&mut self) {
        self.settings.stall_at = None;
        self.kill();
        self.start();
    }

    /// The same, but the next life stops at `point`.
    pub(crate) fn reopen_to_stall_at(&mut self, point: &'static str) {
        self.settings.stall_at = Some(point);
        self.kill();
        self.start();
    }

    /// Waits until the collector stands still at its stall point.
    pub(crate) fn wait_for_stall(&self) {
        let stalled = self.data().join("stalled");
        until("the collector stalls", || stalled.exists());
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.running.as_ref().expect("the house is open").addresses
    }

    /// Everything this house ever wrote: configuration, log and data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        let beside = || self.folder.path().join("data");
        self.settings.data.clone().unwrap_or_else(beside)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log.txt")
    }

    /// Everything the collector printed so far, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|log| String::from_utf8_lossy(&log).into())
            .unwrap_or_default()
    }

    /// Offers a window to the door for OTLP over HTTP.
    pub(crate) fn offer(&self, window: &Window) -> Answer {
        let headers: Vec<(&str, &str)> = window
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.offer_bytes(&headers, &window.body)
    }

    pub(crate) fn offer_bytes(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = format!("{}/v1/metrics", self.addresses().otlp_http);
        let kind = ("content-type", "application/x-protobuf");
        let typed = headers.iter().any(|(name, _)| *name == kind.0);
        let headers = if typed {
            headers.to_vec()
        } else {
            [headers, &[kind]].concat()
        };
        door::post(&url, &headers, body).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Sends a window that must be taken whole.
    pub(crate) fn receive(&self, window: &Window) {
        let answer = self.offer(window);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, ""),
            "\n{}",
            self.log()
        );
    }

    /// Rows of a query over everything acknowledged.
    pub(crate) fn ask(&self, sql: &str) -> Vec<Vec<Value>> {
        let answer = self.call("/api/v1/sql", &json!({ "query": sql }));
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        let rows = answer.json()["rows"].clone();
        serde_json::from_value(rows).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
    }

    /// The single number that a query answers; null counts as zero.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let rows = self.ask(sql);
        rows[0][0].as_i64().unwrap_or_default()
    }

    /// Asks the API for something, with the administrator's token.
    pub(crate) fn call(&self, path: &str, body: &Value) -> Answer {
        let token = fs::read_to_string(self.data().join("admin.token")).unwrap_or_default();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        let url = format!("{}{path}", self.addresses().http);
        door::post(&url, &headers, body.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{url}: {error}\n{}", self.log()))
    }

    /// What a browser or a program reads at `path`.
    pub(crate) fn page(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.addresses().http);
        door::get(&url, &[]).unwrap_or_else(|error| panic!("{url}: {error}\n{}", self.log()))
    }

    /// One sample of `/metrics`, by its name with labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.page("/metrics").text();
        let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let sample = lines.find(|(found, _)| *found == name);
        let (_, value) = sample.unwrap_or_else(|| panic!("{name} is not in\n{page}"));
        value.parse().unwrap()
    }

    /// Runs a subcommand of the same binary; true with its output when it succeeded.
    pub(crate) fn command_line(&self, arguments: &[&str]) -> (bool, String) {
        run(Command::new(program::path()).args(arguments))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!(
                "--- the end of the collector's log ---\n{}",
                last.join("\n")
            );
        } else {
            assert!(!log.contains("panicked"), "the collector panicked:\n{log}");
        }
    }
}

impl Addresses {
    /// Reads the lines that the collector prints once it listens.
    fn printed(log: &str) -> Option<Self> {
        let after = |label: &str| {
            let line = log
                .lines()
                .find(|line| line.trim_start().starts_with(label))?;
            let address = line
                .split_whitespace()
                .find(|word| word.contains("127.0.0.1:"))?;
            Some(address.trim_end_matches('/').to_owned())
        };
        Some(Self {
            http: after("dashboard")?,
            otlp_http: after("otlp/http")?,
            otlp_grpc: after("otlp/grpc")?,
        })
    }
}

/// Runs a program to its end: whether it succeeded, and all it printed.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

/// Every file below `folder`, with its bytes; none if there is no such folder yet.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = vec![];
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, bytes));
        }
    }
    found
}

/// A file that cannot be a folder: for houses that must not open.
pub(crate) fn occupied(path: &Path) {
    File::create(path).unwrap();
}
