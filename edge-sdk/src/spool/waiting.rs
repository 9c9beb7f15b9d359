//! What waits in a spool, as a stranger may look at it. In: a folder. Out: the windows, in the
//! order and with the bytes they will be sent. Only reads: takes no lock, moves no cursor, so an
//! application that uses the folder goes on undisturbed.

use std::{io, path::Path};

use fathomline_wire::identity::Identity;

use super::{files, in_folder, notes, parts_note, segment::Segment};
use crate::error::Error;

/// A window that waits in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Installation, boot and sequence it will be sent under.
    pub identity: Identity,
    /// The body as it will be sent: one `ExportMetricsServiceRequest` in protobuf.
    pub body: Vec<u8>,
    /// What the next upload holds of it instead, where the collector refused the whole as too
    /// large: its next part.
    pub part: Option<Vec<u8>>,
}

impl Waiting {
    /// Every window that waits in `folder`, the next to be sent first.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read. Files that a running application removed
    /// or replaced meanwhile are no error.
    pub fn in_spool(folder: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        let folder = folder.as_ref();
        read(folder).map_err(in_folder("read spool", folder))
    }
}

fn is_strange(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
}

fn read(folder: &Path) -> io::Result<Vec<Waiting>> {
    let cursor = notes::cursor(folder);
    let mut waiting: Vec<Waiting> = Vec::new();
    for (number, path) in files::list(folder)? {
        let position = cursor
            .filter(|cursor| cursor.0 == number)
            .map_or(0, |cursor| cursor.1);
        let scanned = match Segment::scan(&path, number, position) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // A folder, a pipe, a file of another version: the line leaves them alone as well.
            Err(error) if is_strange(error.kind()) => {
                let path = path.display().to_string();
                tracing::warn!(%error, path, "spool file left alone");
                continue;
            }
            scanned => scanned?,
        };
        let Some(segment) = scanned.segment else {
            continue;
        };
        let (installation, boot) = segment.owners();
        for stored in segment.stored()? {
            let identity = Identity {
                installation: installation.to_owned(),
                boot: boot.to_owned(),
                sequence: stored.sequence,
            };
            // Two files hold the same windows for a moment while they are joined.
            let known = |waiting: &Waiting| {
                waiting.identity.boot == identity.boot
                    && waiting.identity.sequence >= identity.sequence
            };
            if !waiting.last().is_some_and(known) {
                waiting.push(Waiting {
                    identity,
                    body: stored.body,
                    part: None,
                });
            }
        }
    }
    if let (Some(first), Some((boot, sequence, parts))) = (waiting.first_mut(), parts_note(folder))
        && (&boot, sequence) == (&first.identity.boot, first.identity.sequence)
    {
        first.part = parts.next(&first.body).map(|part| part.body);
    }
    Ok(waiting)
}
