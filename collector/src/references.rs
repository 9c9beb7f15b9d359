//! What is held against what, for programs: references made from a data folder and kept there, and
//! two versions at the gate. Owns nothing: the work is done in `control`, `rollout` and `database`.

pub use crate::{
    control::{
        Comparison, ControlError, CreateAnswer, CreateRequest, Imported, KeptError, Listed,
        Missing, References, Shown, StreamPair, create_in,
    },
    database::{
        audit::Act,
        references::{Citing, ReferenceRow},
    },
    rollout::{Asked, GateError, decide_in},
};
