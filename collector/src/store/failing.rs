//! Tests only: a disk that fails once, at a chosen step. In: the calls Delta makes. Out: the same
//! answers, but for one error, either before the step was done or after it: then only the answer
//! is lost. What the tests hold: whatever step fails, a commit that is tried again is there once.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::durable::DurableFiles;

/// When a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// Which steps count. Reads grow with a table's log, so only writes can be gone through to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    Writes,
    All,
}

#[derive(Debug)]
struct FailingFiles {
    files: DurableFiles,
    steps: Steps,
    /// Steps until the one that fails; none does at zero.
    left: AtomicUsize,
    moment: Moment,
}

impl FailingFiles {
    fn fails_now(&self) -> bool {
        let count_down = |left: usize| left.checked_sub(1);
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down);
        before == Ok(1)
    }

    fn arm(&self, step: usize) {
        self.left.store(step, Ordering::SeqCst);
    }

    /// Whether the chosen step was reached; the disk is whole again afterwards.
    fn disarm(&self) -> bool {
        self.left.swap(0, Ordering::SeqCst) == 0
    }

    async fn read<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.steps {
            Steps::Writes => work.await,
            Steps::All => self.write(work).await,
        }
    }

    async fn write<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match (self.fails_now(), self.moment) {
            (false, _) => work.await,
            (true, Moment::Before) => Err(failed()),
            (true, Moment::After) => work.await.and_then(|_| Err(failed())),
        }
    }
}

fn failed() -> Error {
    Error::Generic {
        store: "failing files",
        source: "this step was chosen to fail".into(),
    }
}

impl fmt::Display for FailingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failing {}", self.files)
    }
}

#[async_trait]
impl ObjectStore for FailingFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.write(self.files.put_opts(location, payload, options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.write(self.files.put_multipart_opts(location, options))
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(self.files.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read(self.files.get_ranges(location, ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_or_fail(self.files.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_or_fail(self.files.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read(self.files.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.write(self.files.copy_opts(from, to, options)).await
    }
}

impl FailingFiles {
    fn list_or_fail(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.steps == Steps::All && self.fails_now() {
            futures::stream::once(async { Err(failed()) }).boxed()
        } else {
            listed
        }
    }
}

mod tests {
    use datafusion::{arrow::record_batch::RecordBatch, prelude::SessionContext};
    use fathomline_queries::{
        rows::{self, EventRow},
        schema::Table,
    };
    use url::Url;

    use super::{
        super::{
            place::Place,
            tables::Tables,
            upkeep::tests::{Yard, settings},
        },
        *,
    };

    /// More writes than a commit takes, and fewer steps of any kind.
    const STEPS_MAX: usize = 10;

    fn segment(number: i64) -> Vec<RecordBatch> {
        let event = EventRow {
            time: number,
            id: format!("segment-{number}"),
            kind: "test".into(),
            subject: String::new(),
            body: "{}".into(),
        };
        vec![rows::events(&[event]).unwrap()]
    }

    async fn rows_in(tables: &Tables) -> usize {
        let context = SessionContext::new();
        let provider = tables.provider(Table::Events).await.unwrap();
        let frame = context.read_table(provider).unwrap();
        frame.count().await.unwrap()
    }

    /// Commits one segment after another; in each a later step fails. Gives how many steps failed.
    async fn every_step_fails_once(steps: Steps, moment: Moment) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(FailingFiles {
            files: DurableFiles::new(),
            steps,
            left: AtomicUsize::new(0),
            moment,
        });
        let place = Place::Bucket {
            root: Url::from_directory_path(folder.path()).unwrap(),
            store: Arc::clone(&files) as Arc<dyn ObjectStore>,
        };
        let mut tables = Tables::open(place.clone()).await.unwrap();
        for step in 1..=STEPS_MAX {
            let number = i64::try_from(step).unwrap();
            files.arm(step);
            let commit = async |tables: &mut Tables| {
                let batches = segment(number);
                let transaction = ("collector", number);
                tables
                    .append_once(Table::Events, transaction, batches)
                    .await
            };
            let first = commit(&mut tables).await;
            let reached = files.disarm();
            // The committer tries again until it succeeds, and a restart tries once more.
            let mut again = first.map(drop);
            for _ in 0..3 {
                if again.is_err() {
                    again = commit(&mut tables).await.map(drop);
                }
            }
            again.unwrap_or_else(|error| panic!("step {step} {moment:?}: {error}"));
            assert_eq!(rows_in(&tables).await, step, "step {step} {moment:?}");
            if !reached {
                return step - 1;
            }
            let mut opened = Tables::open(place.clone()).await.unwrap();
            assert!(!commit(&mut opened).await.unwrap(), "there already");
        }
        STEPS_MAX
    }

    #[tokio::test]
    async fn whatever_step_fails_a_commit_that_is_tried_again_is_there_once() {
        for moment in [Moment::Before, Moment::After] {
            let writes = every_step_fails_once(Steps::Writes, moment).await;
            assert!((2..STEPS_MAX).contains(&writes), "{writes} {moment:?}");
            let any = every_step_fails_once(Steps::All, moment).await;
            assert_eq!(any, STEPS_MAX, "{moment:?}");
        }
    }

    /// Joins the files of three segments again and again; in each round a later step fails.
    async fn every_step_of_a_compaction_fails_once(steps: Steps, moment: Moment) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(FailingFiles {
            files: DurableFiles::new(),
            steps,
            left: AtomicUsize::new(0),
            moment,
        });
        let place = Place::Bucket {
            root: Url::from_directory_path(folder.path()).unwrap(),
            store: Arc::clone(&files) as Arc<dyn ObjectStore>,
        };
        let yard = Yard::over(place, settings()).await;
        let later = 1_000_000_000_000;
        for step in 1..=STEPS_MAX {
            let rows = {
                let mut tables = yard.tables.lock().await;
                let first = i64::try_from(step * 3).unwrap();
                for number in first..first + 3 {
                    let transaction = ("collector", number);
                    let batches = segment(number);
                    let done = tables
                        .append_once(Table::Events, transaction, batches)
                        .await;
                    assert!(done.unwrap());
                }
                rows_in(&tables).await
            };
            files.arm(step);
            let first = yard.upkeep.compact(Table::Events, later).await;
            let reached = files.disarm();
            if let Err(error) = first {
                eprintln!("step {step} {moment:?}: {error}");
                yard.upkeep.compact(Table::Events, later).await.unwrap();
            }
            let opened = Tables::open(folder.path()).await.unwrap();
            assert_eq!(rows_in(&opened).await, rows, "step {step} {moment:?}");
            assert!(opened.files(Table::Events) < 3, "step {step} {moment:?}");
            if !reached {
                return step - 1;
            }
        }
        STEPS_MAX
    }

    #[tokio::test]
    async fn whatever_step_of_a_compaction_fails_every_row_is_there_once() {
        for moment in [Moment::Before, Moment::After] {
            let writes = every_step_of_a_compaction_fails_once(Steps::Writes, moment).await;
            assert!((2..STEPS_MAX).contains(&writes), "{writes} {moment:?}");
            let any = every_step_of_a_compaction_fails_once(Steps::All, moment).await;
            assert_eq!(any, STEPS_MAX, "{moment:?}");
        }
    }
}
