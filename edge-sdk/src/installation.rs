//! Who sends: random identifiers, and the file that keeps the installation's. Never a serial
//! number, a network address or anything else that names the hardware or its owner.

use std::path::Path;

use fathomline_wire::identity::is_identifier;

use crate::{
    error::Error,
    model::hex,
    spool::{self, Kept},
};

/// Random bytes of an identifier: enough that no two installations of any fleet ever meet.
const RANDOM_BYTES: usize = 16;

/// A new identifier, for a boot or an installation.
pub(crate) fn random() -> Result<String, Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(hex(&bytes))
}

/// The identifier kept in the spool folder.
pub(crate) fn kept(folder: &Path) -> Option<String> {
    let bytes = spool::note_bytes(&folder.join("installation")).ok()?;
    let found = String::from_utf8(bytes).ok()?;
    let found = found.trim_end();
    is_identifier(found).then(|| found.to_owned())
}

/// The identifier kept in the spool folder, or a new one that is kept from now on.
pub(crate) fn of_folder(folder: &Path) -> Result<String, Error> {
    // A file that is not there and one that is damaged end the same way: a new installation.
    if let Some(known) = kept(folder) {
        return Ok(known);
    }
    let path = folder.join("installation");
    let drawn = random()?;
    match spool::keep(&path, drawn.as_bytes(), Kept::Surely) {
        Ok(()) => Ok(drawn),
        Err(source) => Err(Error::Spool {
            action: "write",
            path,
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_installation_keeps_its_name_and_two_differ() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = of_folder(one.path()).unwrap();
        assert!(is_identifier(&first));
        assert_eq!(of_folder(one.path()).unwrap(), first);
        assert_ne!(of_folder(two.path()).unwrap(), first);
    }

    #[test]
    fn a_damaged_name_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("installation"), [0; 32]).unwrap();
        let drawn = of_folder(folder.path()).unwrap();
        assert_eq!(of_folder(folder.path()).unwrap(), drawn);
    }
}
