//! References, for programs: making them from a data folder, and what is kept there. Owns nothing:
//! the work is done in `control` and `database`.

pub use crate::{
    control::{
        Comparison, ControlError, CreateAnswer, CreateRequest, Imported, KeptError, Listed,
        Missing, References, Shown, StreamPair, create_in,
    },
    database::{
        audit::Act,
        references::{Citing, ReferenceRow},
    },
};
