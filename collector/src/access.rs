//! Who may do what: roles, the administrator's token, and the check that every write passes.
//!
//! In: request headers. Out: an actor, or why there is none. Owns `<data>/admin.token`, made at the
//! first start and readable by its owner alone. Reading needs no token (the port is on loopback
//! unless the operator said otherwise), writing always does. Never: a token in a log or an answer.

pub(crate) mod origin;

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const FILE: &str = "admin.token";
const TOKEN_BYTES: usize = 32;
/// A shorter one was not made by us.
const TOKEN_TEXT_MIN: usize = 40;

/// What an actor may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Looks at pages, verdicts and rows.
    Viewer,
    /// Freezes references and silences alerts.
    Operator,
    /// Changes who may do what.
    Admin,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who asks; the name goes into the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// Why access cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("cannot make or read {path}: {source}; the collector needs to write its data folder")]
    Token {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot use {path}: others may read it (mode {mode:o}); remove it to get a new token")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("cannot use {0}: it holds no token; remove it to get a new one")]
    Empty(PathBuf),
}

/// Why a request may not do what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error(
        "this needs a token; send the one in the data folder's admin.token as `Authorization: Bearer ...`"
    )]
    Absent,
    #[error(
        "this token is not known; send the one in the data folder's admin.token as `Authorization: Bearer ...`"
    )]
    Unknown,
    #[error("this needs the role {}, and you are {}", needed.word(), has.word())]
    Role { needed: Role, has: Role },
}

/// Knows the tokens.
pub(crate) struct Access {
    /// Of equal length whatever is compared, so time tells nothing about the token.
    admin_digest: [u8; 32],
}

impl Access {
    /// Reads `<data_folder>/admin.token`, or makes it.
    pub(crate) fn open(data_folder: &Path) -> Result<Self, AccessError> {
        let path = data_folder.join(FILE);
        let token = read_or_make(&path).map_err(|source| AccessError::Token {
            path: path.clone(),
            source,
        })?;
        let failed = |source| AccessError::Token {
            path: path.clone(),
            source,
        };
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(AccessError::Exposed { path, mode });
        }
        if token.trim().len() < TOKEN_TEXT_MIN {
            return Err(AccessError::Empty(path));
        }
        Ok(Self {
            admin_digest: digest(token.trim()),
        })
    }

    /// The actor behind a request, if it may act as `needed`. A wrong token is refused even where
    /// none is needed: whoever sends one believes it to work.
    pub(crate) fn require(&self, headers: &HeaderMap, needed: Role) -> Result<Actor, Denied> {
        let sent = headers.get(AUTHORIZATION);
        let bearer = sent.map(|value| value.to_str().ok().and_then(|v| v.strip_prefix("Bearer ")));
        let actor = match bearer {
            None => Actor {
                name: "anonymous".to_owned(),
                role: Role::Viewer,
            },
            Some(token) => self.known(token.ok_or(Denied::Unknown)?)?,
        };
        match actor.role {
            has if has >= needed => Ok(actor),
            _ if bearer.is_none() => Err(Denied::Absent),
            has => Err(Denied::Role { needed, has }),
        }
    }

    fn known(&self, token: &str) -> Result<Actor, Denied> {
        if !bool::from(digest(token.trim()).ct_eq(&self.admin_digest)) {
            return Err(Denied::Unknown);
        }
        Ok(Actor {
            name: "admin".to_owned(),
            role: Role::Admin,
        })
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn read_or_make(path: &Path) -> std::io::Result<String> {
    match make(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(path),
        made => made,
    }
}

/// Written aside and renamed, so that a crash never leaves half a token. One collector owns a data
/// folder, so nobody makes another one in between.
fn make(path: &Path) -> std::io::Result<String> {
    if path.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(random);
    let aside = path.with_extension("token.new");
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    #[test]
    fn the_token_is_made_once_for_its_owner_alone_and_opens_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let access = Access::open(folder.path()).unwrap();
        let token = fs::read_to_string(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing left aside"
        );
        let bearer = headers(&format!("Bearer {}", token.trim()));
        assert_eq!(access.require(&bearer, Role::Admin).unwrap().name, "admin");

        let again = Access::open(folder.path()).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            token,
            "a restart keeps it"
        );
        assert!(again.require(&bearer, Role::Operator).is_ok());
        let other = tempfile::tempdir().unwrap();
        assert!(
            Access::open(other.path())
                .unwrap()
                .require(&bearer, Role::Viewer)
                .is_err()
        );
    }

    #[test]
    fn without_a_token_one_may_look_but_not_write() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let none = HeaderMap::new();
        assert_eq!(
            access.require(&none, Role::Viewer).unwrap().role,
            Role::Viewer
        );
        assert_eq!(access.require(&none, Role::Operator), Err(Denied::Absent));
        for wrong in ["Bearer ", "Bearer nonsense", "Basic YTpi", "bearer"] {
            for role in [Role::Viewer, Role::Operator, Role::Admin] {
                assert_eq!(
                    access.require(&headers(wrong), role),
                    Err(Denied::Unknown),
                    "{wrong}"
                );
            }
        }
    }

    #[test]
    fn a_token_that_others_could_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        Access::open(folder.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Access::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("mode 644") && error.contains("remove it"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "\n").unwrap();
        assert!(matches!(
            Access::open(folder.path()),
            Err(AccessError::Empty(_))
        ));
    }

    #[test]
    fn a_lower_role_is_told_what_it_lacks() {
        let denied = Denied::Role {
            needed: Role::Admin,
            has: Role::Operator,
        };
        assert_eq!(
            denied.to_string(),
            "this needs the role admin, and you are operator"
        );
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }
}
