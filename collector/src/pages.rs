//! What the pages ask of this collector: the time, who may look, frozen references. In: requests of
//! the dashboard's trait. Out: answers of `clock`, `access` and `database`. Never: decisions.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use fathomline_dashboard::{Control, ControlError, Refused};
use fathomline_queries::drift::Reference;

use crate::{
    access::{Access, Denied, Role},
    clock::Clock,
    database::{Database, references},
};

/// The collector, as its pages see it.
pub(crate) struct Pages {
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) database: Database,
}

#[async_trait]
impl Control for Pages {
    fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    fn may_look(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let allowed = self.access.require(headers, Role::Viewer);
        allowed.map(drop).map_err(|denied| Refused {
            status: match denied {
                Denied::Absent | Denied::Unknown | Denied::Revoked => StatusCode::UNAUTHORIZED,
                Denied::Role { .. } | Denied::SendsOnly | Denied::ReadsOnly => {
                    StatusCode::FORBIDDEN
                }
            },
            message: denied.to_string(),
        })
    }

    async fn reference(&self, hash: &str) -> Result<Option<Reference>, ControlError> {
        let hash = hash.to_owned();
        let read = self.database.transact(move |t| references::find(t, &hash));
        let Some(body) = read.await.map_err(|error| ControlError(error.into()))? else {
            return Ok(None);
        };
        let reference = postcard::from_bytes(&body);
        reference
            .map(Some)
            .map_err(|error| ControlError(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Rules, clock::SystemClock};

    #[tokio::test]
    async fn an_unknown_reference_is_none_and_a_wrong_token_may_not_look() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let access = Access::open(folder.path(), database.clone(), Rules::default()).unwrap();
        let pages = Pages {
            access: Arc::new(access),
            clock: Arc::new(SystemClock),
            database,
        };
        assert_eq!(pages.reference("none").await.unwrap(), None);
        let mut headers = HeaderMap::new();
        assert_eq!(pages.may_look(&headers), Ok(()));
        headers.insert("authorization", "Bearer wrong".parse().unwrap());
        let refused = pages.may_look(&headers).unwrap_err();
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(
            refused.message.contains("admin.token"),
            "{}",
            refused.message
        );
    }
}
