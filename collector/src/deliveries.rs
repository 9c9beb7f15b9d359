//! Deliveries, for programs: what became of them on a data folder, and one test event. Owns
//! nothing: the work is done in `alert` and `database`.

pub use crate::{
    alert::{
        desk::{Desk, DeskError, Enabled, EndpointState},
        trial::{Trial, TrialError},
    },
    database::{deliveries::Delivery, outbox::Attempt},
};
