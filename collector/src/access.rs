//! Who may do what: roles, tokens, and the check that every write passes.
//!
//! In: request headers, and what a connection proved. Out: an actor, a sender, or why there is
//! none. Reading needs no token unless the configuration says so (the port is on loopback then),
//! writing always does; sending needs one where `otlp.require_token` is set. Never: a token in a
//! log, in an answer or on the disk, the administrator's own file apart.
//!
//! | file | does |
//! |---|---|
//! | `admin.rs` | the administrator's token, a file beside the data |
//! | `secret.rs` | what a token looks like, and its digest |
//! | `register.rs` | what is known of tokens and devices |
//! | `sender.rs` | for whom a sender may send |
//! | `enrol.rs` | a fleet's token for a device's own, once |
//! | `credentials.rs` | what the command line changes |
//! | `attempts.rs` | wrong tokens, by address |
//! | `limit.rs` | answers 429 where there were too many |
//! | `origin.rs` | which names this server answers to |

mod admin;
mod attempts;
pub mod credentials;
pub(crate) mod enrol;
pub(crate) mod limit;
pub(crate) mod origin;
mod register;
pub(crate) mod secret;
pub(crate) mod sender;

use std::{
    net::IpAddr,
    path::Path,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

pub(crate) use self::admin::AccessError;
use self::{
    attempts::Attempts,
    register::{Grant, Register},
};
use crate::database::{self, Database, credentials as rows};

/// How often the database is asked what the command line changed: a revoked token is refused within
/// about so long. One row is read when nothing changed.
const REFRESH: Duration = Duration::from_secs(1);

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

impl Actor {
    fn admin() -> Self {
        Self {
            name: "admin".to_owned(),
            role: Role::Admin,
        }
    }
}

/// Why a request may not do what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error(
        "this needs a token; send the one in the data folder's admin.token, or one that `fathomline token create` made, as `Authorization: Bearer ...`"
    )]
    Absent,
    #[error(
        "this token is not known; send the one in the data folder's admin.token, or one that `fathomline token create` made, as `Authorization: Bearer ...`"
    )]
    Unknown,
    #[error("this token was revoked; `fathomline token create` makes another")]
    Revoked,
    #[error("this needs the role {}, and you are {}", needed.word(), has.word())]
    Role { needed: Role, has: Role },
    #[error(
        "this token sends and may not read; `fathomline token create --name WHO --scope read` makes one that may"
    )]
    SendsOnly,
    #[error(
        "this token reads and may not send; `fathomline token create --fleet NAME` makes one that may"
    )]
    ReadsOnly,
}

/// Where a token is needed though only rows are sent or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) send: bool,
    pub(crate) read: bool,
}

/// Knows the tokens.
pub(crate) struct Access {
    rules: Rules,
    /// Of equal length whatever is compared, so time tells nothing about the token.
    admin_digest: [u8; 32],
    register: RwLock<Register>,
    attempts: Mutex<Attempts>,
    database: Database,
    /// Held while changes are read and applied, so that older ones never come last.
    refreshing: tokio::sync::Mutex<()>,
}

impl Access {
    /// Reads `<data_folder>/admin.token`, or makes it. Knows other tokens after the first
    /// [`refresh`](Self::refresh).
    pub(crate) fn open(
        data_folder: &Path,
        database: Database,
        rules: Rules,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            rules,
            admin_digest: admin::digest_in(data_folder)?,
            register: RwLock::default(),
            attempts: Mutex::default(),
            database,
            refreshing: tokio::sync::Mutex::default(),
        })
    }

    /// Learns what changed in the database, by whomever.
    pub(crate) async fn refresh(&self) -> database::Result<()> {
        let _alone = self.refreshing.lock().await;
        let seen = self.register().seen();
        let changes = self
            .database
            .transact(move |t| rows::since(t, seen))
            .await?;
        let mut register = self.register.write();
        let register = register.as_mut().map_err(|poisoned| poisoned.get_mut());
        register.unwrap_or_else(|register| register).apply(changes);
        Ok(())
    }

    /// Keeps learning until the collector stops.
    pub(crate) async fn follow(&self, mut stopping: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let stopped = stopping.wait_for(|stop| *stop);
            if tokio::time::timeout(REFRESH, stopped).await.is_ok() {
                return;
            }
            match self.refresh().await {
                Ok(()) => failing = false,
                // Said when it begins, not every second.
                Err(_) if failing => {}
                Err(error) => {
                    failing = true;
                    tracing::error!(%error, "cannot read tokens; those revoked since are still accepted");
                }
            }
        }
    }

    /// The actor behind a request, if it may act as `needed`. A wrong token is refused even where
    /// none is needed: whoever sends one believes it to work.
    pub(crate) fn require(&self, headers: &HeaderMap, needed: Role) -> Result<Actor, Denied> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return match needed {
                Role::Viewer if !self.rules.read => Ok(Actor {
                    name: "anonymous".to_owned(),
                    role: Role::Viewer,
                }),
                _ => Err(Denied::Absent),
            };
        };
        let token = token_in(value).ok_or(Denied::Unknown)?;
        match self.grant(&token)? {
            Grant::Person(actor) if actor.role >= needed => Ok(actor),
            Grant::Person(actor) => Err(Denied::Role {
                needed,
                has: actor.role,
            }),
            Grant::Fleet(_) | Grant::Device(_) => Err(Denied::SendsOnly),
        }
    }

    /// What a token opens.
    fn grant(&self, token: &str) -> Result<Grant, Denied> {
        if secret::key_of(token).is_some() {
            return self.register().grant(token);
        }
        match bool::from(secret::digest(token).ct_eq(&self.admin_digest)) {
            true => Ok(Grant::Person(Actor::admin())),
            false => Err(Denied::Unknown),
        }
    }

    /// Counts a wrong token; how long its address has to wait if it was one too many.
    pub(crate) fn failed(&self, address: IpAddr, now_us: i64) -> Option<Duration> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.failed(address, now_us)
    }

    fn register(&self) -> RwLockReadGuard<'_, Register> {
        self.register.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token in a header: a bearer's, or the password that a browser asked for.
fn token_in(value: &HeaderValue) -> Option<String> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let pair = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| BASE64_STANDARD.decode(rest.trim()).ok())?;
    let pair = String::from_utf8(pair?).ok()?;
    let (_user, password) = pair.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests;
