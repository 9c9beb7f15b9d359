//! Everything around the house that tests need. Owns no promise of its own.
//!
//! | module | does |
//! |---|---|
//! | `workspace` | the checkout as files |
//! | `program` | finds the binary, and foreign software |

pub(crate) mod program;
pub(crate) mod workspace;
