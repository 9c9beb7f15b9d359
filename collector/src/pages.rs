//! What the pages ask of this collector: the time, who may look, frozen references. In: requests of
//! the dashboard's trait. Out: answers of `clock`, `access` and `database`. Never: decisions.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use fathomline_dashboard::{Act, Citing, Control, ControlError, Done, KeptReference, Refused};
use fathomline_queries::drift::Reference;

use crate::{
    access::{Access, Denied, Role},
    clock::Clock,
    control::{Listed, References},
    database::{audit, references},
};

/// The collector, as its pages see it.
pub(crate) struct Pages {
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) references: References,
}

/// References and acts on one page; the API has them all.
const PAGE_ROWS: u32 = 200;
const ACTS: u32 = 20;

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
        let found = self.references.find(hash).await;
        found.map_err(|error| ControlError(error.into()))
    }

    async fn references(&self) -> Result<Vec<KeptReference>, ControlError> {
        let listed = self.references.list(PAGE_ROWS).await;
        let listed = listed.map_err(|error| ControlError(error.into()))?;
        Ok(listed.into_iter().map(kept).collect())
    }

    async fn acts(&self) -> Result<Vec<Act>, ControlError> {
        let acts = self.references.acts(ACTS).await;
        let acts = acts.map_err(|error| ControlError(error.into()))?;
        let act = |act: audit::Act| Act {
            done: Done {
                time_us: act.time_us,
                by: act.actor,
            },
            action: act.action,
            reference: act.subject,
        };
        Ok(acts.into_iter().map(act).collect())
    }
}

fn kept(Listed { row, cited_by }: Listed) -> KeptReference {
    let done = |time_us: Option<i64>, by: Option<String>| {
        let by = by.unwrap_or_default();
        time_us.map(|time_us| Done { time_us, by })
    };
    let citing = |citing: references::Citing| Citing {
        series: citing.series,
        name: citing.name,
    };
    KeptReference {
        hash: row.hash,
        name: row.name,
        level: row.level,
        season: row.season,
        made_from: row.made_from,
        records: row.records,
        from_us: row.from_us,
        to_us: row.to_us,
        excluded_lanes: row.excluded_lanes,
        created: Done {
            time_us: row.created_us,
            by: row.created_by,
        },
        in_force: done(row.in_force_since_us, row.in_force_by),
        retired: done(row.retired_us, row.retired_by),
        cited_by: cited_by.into_iter().map(citing).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Rules, clock::SystemClock, database::Database};

    #[tokio::test]
    async fn an_unknown_reference_is_none_and_a_wrong_token_may_not_look() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let access = Access::open(folder.path(), database.clone(), Rules::default()).unwrap();
        let pages = Pages {
            access: Arc::new(access),
            clock: Arc::new(SystemClock),
            references: References::new(database, Arc::new(SystemClock)),
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
