//! The house the story plays in: a collector in this program, started as any other program would
//! start one. Owns its configuration and the folders. In: where people want pages and data. Out: a
//! running collector, and folders that are gone afterwards unless people asked to keep them.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fathomline_collector::{AlertEndpoint, Collector, Config, Running, StartError};
use tempfile::TempDir;

use crate::receiver::Secret;

/// Width of a lane, in microseconds.
pub const LANE_US: i64 = 5_000_000;
/// The clock of a story of minutes. The budget is shared by the 42 series of two versions. Where a
/// fleet of a thousand has a day, the gate has a minute of the baseline alone, and what it promotes
/// is shown to be less than twice as bad instead of a fifth worse.
const CONFIG: &str = include_str!("../house.toml");

/// Where people want things.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Dashboard and API; by default the collector's own address, or a free port if it is taken.
    pub http: Option<SocketAddr>,
    /// Folder that keeps the data.
    pub data: Option<PathBuf>,
}

/// A collector at work, with its folders.
pub struct House {
    pub running: Running,
    /// What the collector stores.
    pub data: PathBuf,
    /// Whether the data stays when the house closes.
    pub kept: bool,
    /// The address that was taken, if the default was.
    pub taken: Option<SocketAddr>,
    /// Spools, weights, the webhook's secret, and the data that nobody wants to keep.
    folder: TempDir,
}

impl House {
    /// Opens a house that tells `url` of every change, and takes reports signed with the same
    /// secret.
    pub async fn open(wishes: &Wishes, url: String, secret: &Secret) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("fathomline-demo-")
            .tempdir()
            .context("cannot make a temporary folder; set TMPDIR to one that can be written")?;
        let data = match &wishes.data {
            Some(data) => unused(data)?,
            None => folder.path().join("data"),
        };
        let secret_file = folder.path().join("webhook.secret");
        write_secret(&secret_file, secret)
            .with_context(|| format!("cannot write {}", secret_file.display()))?;
        // A path as JSON has it is one as TOML has it.
        let trainers = serde_json::to_string(&secret_file)?;
        let text = format!("{CONFIG}callback_secret_file = {trainers}\n");
        let mut config = Config::from_toml(&text)?;
        config.data.clone_from(&data);
        config.tell(AlertEndpoint {
            name: "trainer".to_owned(),
            url,
            secret_file,
        });
        let (running, taken) = start(config, wishes.http).await?;
        Ok(Self {
            running,
            data,
            kept: wishes.data.is_some(),
            taken,
            folder,
        })
    }

    /// Base URL of the dashboard.
    pub fn dashboard(&self) -> String {
        format!("http://{}", self.running.http)
    }

    /// Where devices send.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.running.otlp_http)
    }

    /// Where devices keep spools and weights.
    pub fn fleet_folder(&self) -> PathBuf {
        self.folder.path().join("fleet")
    }

    /// Where the trainer leaves what it makes.
    pub fn trainer_folder(&self) -> PathBuf {
        self.folder.path().join("trainer")
    }

    /// Returns once everything acknowledged is committed and the temporary folder is gone.
    pub async fn close(self) -> Result<()> {
        self.running.drain().await;
        let path = self.folder.path().to_owned();
        self.folder
            .close()
            .with_context(|| format!("cannot remove {}; remove it by hand", path.display()))
    }
}

/// A folder of an earlier story would mix its verdicts and references into this one.
fn unused(data: &Path) -> Result<PathBuf> {
    let shown = data.display();
    match fs::read_dir(data).map(Iterator::count) {
        Ok(0) => Ok(data.to_owned()),
        Ok(_) => bail!(
            "cannot tell a new story in {shown}: it is not empty; name another folder, or look at \
             what it holds with `fathomline serve --data {shown}`"
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(data.to_owned()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot use {shown} as a folder for data"))
        }
    }
}

/// Readable by its owner alone, as the collector's own token is.
fn write_secret(path: &Path, secret: &Secret) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(secret.text().as_bytes())
}

/// Starts on the address given, or on the default, or on a free port where the default is taken.
async fn start(
    mut config: Config,
    http: Option<SocketAddr>,
) -> Result<(Running, Option<SocketAddr>)> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    (config.otlp_http, config.otlp_grpc) = (free, free);
    let default = config.http;
    config.http = http.unwrap_or(default);
    match Collector::start(config.clone()).await {
        Err(StartError::Listen {
            address, source, ..
        }) if http.is_none() && address == default && source.kind() == ErrorKind::AddrInUse => {
            config.http = free;
            Ok((Collector::start(config).await?, Some(default)))
        }
        started => Ok((started?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(wishes: &Wishes) -> Result<House> {
        let nobody = "http://127.0.0.1:9/webhooks".to_owned();
        House::open(wishes, nobody, &Secret::random()).await
    }

    #[tokio::test]
    async fn an_address_that_was_asked_for_and_is_taken_is_an_error_that_says_so() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wishes = Wishes {
            http: Some(taken.local_addr().unwrap()),
            data: None,
        };
        let error = open(&wishes).await.err().unwrap().to_string();
        for part in [&taken.local_addr().unwrap().to_string(), "--http"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_folder_is_kept_where_asked_and_gone_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let kept = folder.path().join("kept");
        for data in [Some(kept.clone()), None] {
            let house = open(&Wishes { http: any, data }).await.unwrap();
            let (data, temporary) = (house.data.clone(), house.folder.path().to_owned());
            assert!(data.join("admin.token").exists() && temporary.exists());
            let stays = house.kept;
            house.close().await.unwrap();
            assert_eq!((data.exists(), temporary.exists()), (stays, false));
        }
        let again = Wishes {
            http: any,
            data: Some(kept),
        };
        let error = open(&again).await.err().unwrap().to_string();
        assert!(
            error.contains("not empty") && error.contains("serve --data"),
            "{error}"
        );
    }
}
