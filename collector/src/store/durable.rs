//! A local object store whose `Ok` means durable.
//!
//! In: the calls Delta makes. Out: the same answers, after the file and its directory are synced.
//! `object_store` 0.13 never syncs local files, so a log segment dropped after a Delta commit
//! could take acknowledged rows with it when the power fails. Deletes need no sync: a deleted
//! file that comes back is an orphan, which vacuum removes.

use std::{
    fmt, fs, io,
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, local::LocalFileSystem, path::Path,
};
use tokio::task::spawn_blocking;

/// Directories above a new file that may be new as well: the partition and the table.
const NEW_FOLDERS_MAX: usize = 2;

/// [`LocalFileSystem`] with syncs.
#[derive(Clone, Debug)]
pub(crate) struct DurableFiles {
    files: Arc<LocalFileSystem>,
}

impl DurableFiles {
    pub(crate) fn new() -> Self {
        Self {
            files: Arc::new(LocalFileSystem::new()),
        }
    }
}

impl fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable {}", self.files)
    }
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let path = self.files.path_to_filesystem(location)?;
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        blocking(location, move || write_durably(&path, &payload, create)).await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.files.put_multipart_opts(location, options).await?;
        let path = self.files.path_to_filesystem(location)?;
        Ok(Box::new(DurableUpload {
            upload,
            path,
            location: location.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        let path = self.files.path_to_filesystem(to)?;
        blocking(to, move || sync_written(&path)).await
    }
}

/// An upload in parts that is synced when it completes.
#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
    location: Path,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.upload.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        let path = self.path.clone();
        blocking(&self.location, move || sync_written(&path)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

async fn blocking(
    location: &Path,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let done = spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten();
    done.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path: location.to_string(),
            source: Box::new(source),
        },
        _ => Error::Generic {
            store: "durable local files",
            source: Box::new(source),
        },
    })
}

/// Writes aside, syncs, then renames; `create` fails if the name is taken (put-if-absent).
fn write_durably(path: &FilePath, payload: &PutPayload, create: bool) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("a file without a folder"))?;
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let aside = folder.join(format!(".{name}.{}.{number}.tmp", std::process::id()));
    let written = write_aside(&aside, payload).and_then(|()| {
        if create {
            fs::hard_link(&aside, path)?;
            fs::remove_file(&aside)
        } else {
            fs::rename(&aside, path)
        }
    });
    if written.is_err() {
        // The name stays free for the next attempt; a leftover is an orphan for vacuum.
        let _ = fs::remove_file(&aside);
    }
    written.and_then(|()| sync_folders(path))
}

fn write_aside(aside: &FilePath, payload: &PutPayload) -> io::Result<()> {
    let mut file = fs::File::create(aside)?;
    for part in payload.iter() {
        io::Write::write_all(&mut file, part)?;
    }
    file.sync_all()
}

fn sync_written(path: &FilePath) -> io::Result<()> {
    fs::File::open(path)?.sync_all()?;
    sync_folders(path)
}

fn sync_folders(path: &FilePath) -> io::Result<()> {
    path.ancestors()
        .skip(1)
        .take(NEW_FOLDERS_MAX)
        .try_for_each(super::wal::sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn a_name_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableFiles::new();
        let at = Path::from_filesystem_path(folder.path())
            .unwrap()
            .join("log")
            .join("1.json");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&at, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&at, "two".into(), create()).await;
        assert!(
            matches!(again, Err(Error::AlreadyExists { .. })),
            "{again:?}"
        );
        let kept = store.get(&at).await.unwrap().bytes().await.unwrap();
        assert_eq!(&kept[..], b"one");
    }
}
