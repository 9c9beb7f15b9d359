//! Alerts, for programs: incidents and silences of a data folder. Owns nothing: the work is done in
//! `alert` and `database`.

pub use crate::{
    alert::{
        duty::{Duty, DutyError, IncidentShown, MemberShown},
        silence::{SilenceShown, Wish},
    },
    database::silences::Acknowledgement,
};
