//! Deliveries, for programs: what became of them on a data folder, and one test event; and the
//! alerts that are told. Owns nothing: the work is done in `alert` and `database`.

pub mod alerts;

pub use crate::{
    alert::{
        desk::{Desk, DeskError, Enabled, EndpointState},
        trial::{Trial, TrialError},
    },
    database::{deliveries::Delivery, outbox::Attempt},
};
