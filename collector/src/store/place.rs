//! Where the tables rest: a folder on this machine, or a bucket that speaks S3. One configuration
//! value, `store.tables`, says which.
//!
//! In: a path, or `s3://bucket/prefix` with credentials in the environment. Out: a builder for each
//! Delta table over a store whose `Ok` means durable. The write-ahead log, the lock and the control
//! database never leave the data folder: an acknowledgement waits for a local sync, not for a
//! network. Never: credentials from the file, or a commit by anything but put-if-absent.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::Duration,
};

use deltalake_core::{
    DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri,
    logstore::{
        LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore,
        logstore_factories,
    },
};
use fathomline_queries::schema::Table;
use object_store::{RetryConfig, aws::AmazonS3Builder};
use url::Url;

use super::durable::DurableFiles;

/// Longest the store's client tries by itself; the committer tries again for ever, and says so.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// A root under which every table has its folder.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Folder(PathBuf),
    Bucket { root: Url, store: ObjectStoreRef },
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the scheme {0} is not known")]
    Scheme(String),
    #[error("{0}")]
    Bucket(#[from] object_store::Error),
}

impl Place {
    /// Reads the configuration's value. No connection is made yet.
    pub(crate) fn parse(value: &str) -> Result<Self, PlaceError> {
        let Some(root) = Url::parse(value).ok().filter(|url| url.has_host()) else {
            let path = value.strip_prefix("file://").unwrap_or(value);
            return Ok(Self::Folder(PathBuf::from(path)));
        };
        if root.scheme() != "s3" {
            return Err(PlaceError::Scheme(root.scheme().to_owned()));
        }
        let retry = RetryConfig {
            retry_timeout: RETRY_LIMIT,
            ..RetryConfig::default()
        };
        let store = AmazonS3Builder::from_env()
            .with_url(value)
            .with_retry(retry)
            .build()?;
        Ok(Self::Bucket {
            root,
            store: Arc::new(store),
        })
    }

    /// The table, not loaded: whether it exists is another question.
    pub(crate) fn table(&self, table: Table) -> DeltaResult<DeltaTable> {
        let (url, store) = match self {
            Self::Folder(folder) => {
                let path = folder.join(table.name());
                std::fs::create_dir_all(&path)?;
                let store: ObjectStoreRef = Arc::new(DurableFiles::new());
                (ensure_table_uri(path.to_string_lossy())?, store)
            }
            Self::Bucket { root, store } => {
                register_bucket_log();
                let root = root.as_str().trim_end_matches('/');
                let url = format!("{root}/{}", table.name());
                let url = Url::parse(&url)
                    .map_err(|error| DeltaTableError::InvalidTableLocation(error.to_string()))?;
                (url, Arc::clone(store))
            }
        };
        let builder = DeltaTableBuilder::from_url(url.clone())?;
        builder.with_storage_backend(store, url).build()
    }
}

impl<P: AsRef<Path>> From<P> for Place {
    fn from(folder: P) -> Self {
        Self::Folder(folder.as_ref().to_owned())
    }
}

/// Commits in a bucket as in a folder: by put-if-absent, which S3 calls `If-None-Match: *`.
#[derive(Debug)]
struct BucketLog;

impl LogStoreFactory for BucketLog {
    fn with_options(
        &self,
        table: ObjectStoreRef,
        root: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(table, root, location, options))
    }
}

/// The Delta crate knows logs in files and in memory; it wants to be told of every other scheme.
fn register_bucket_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Ok(scheme) = Url::parse("s3://") {
            logstore_factories().insert(scheme, Arc::new(BucketLog));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_names_a_folder_or_a_bucket() {
        for (value, folder) in [
            ("tables", "tables"),
            ("/var/lib/tables", "/var/lib/tables"),
            ("file:///var/lib/tables", "/var/lib/tables"),
        ] {
            let place = Place::parse(value).unwrap();
            assert!(matches!(place, Place::Folder(path) if path == Path::new(folder)));
        }
        let place = Place::parse("s3://bucket/some/prefix/").unwrap();
        let url = place.table(Table::Rollups).unwrap().table_url().to_string();
        assert_eq!(url.trim_end_matches('/'), "s3://bucket/some/prefix/rollups");
        let refused = Place::parse("ftp://bucket/prefix").unwrap_err().to_string();
        assert!(refused.contains("ftp"), "{refused}");
    }
}
