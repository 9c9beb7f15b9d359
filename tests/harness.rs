//! Everything around the house that tests need. Owns no promise of its own.
//!
//! | module | does |
//! |---|---|
//! | `house` | the real binary on loopback and a folder of its own: opened, killed, opened again |
//! | `device` | what a device sends, byte for byte |
//! | `fleet` | a class of devices with a signal that is quiet, or not |
//! | `authority` | signs certificates for doors and devices |
//! | `bucket` | a server that speaks S3, taken away and given back |
//! | `books` | whether everything was counted once |
//! | `browser` | looks at pages with Chromium |
//! | `door` | sends and asks over HTTP |
//! | `sink` | receives webhooks |
//! | `clock` | the only reader of system time here, and waiting with a deadline |
//! | `program` | finds the binary, and foreign software |
//! | `workspace` | the checkout as files |

pub(crate) mod authority;
pub(crate) mod books;
pub(crate) mod browser;
pub(crate) mod bucket;
pub(crate) mod clock;
pub(crate) mod device;
pub(crate) mod disk;
pub(crate) mod door;
pub(crate) mod fleet;
pub(crate) mod house;
pub(crate) mod program;
pub(crate) mod sink;
pub(crate) mod workspace;
