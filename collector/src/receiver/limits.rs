//! What senders may take: memory, connections, time. Owns the numbers that configuration can
//! change; sizes that both ends must share are in `fathomline_wire::limits`.

use std::time::Duration;

use crate::listener::connections::ConnectionLimits;

/// Limits of both OTLP doors.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverLimits {
    /// Memory of all requests that are being read, decoded or waiting for their sync: bodies, their
    /// inflated and decoded forms, and rows. What does not fit is told to come back.
    pub(crate) memory_bytes: usize,
    pub(crate) connections: ConnectionLimits,
    /// How long a request's body may take to arrive.
    pub(crate) body_timeout: Duration,
}

/// Requests at once, over both doors. More would only wait for the store's queue.
pub(super) const REQUESTS_MAX: usize = 2048;

/// Bodies above this are inflated and decoded on a thread of their own, so that they do not keep
/// small ones waiting.
pub(super) const INLINE_BYTES_MAX: usize = 64 << 10;
/// The same for packed ones, which are many times as large when they are inflated.
pub(super) const INLINE_PACKED_BYTES_MAX: usize = INLINE_BYTES_MAX / 16;

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            connections: ConnectionLimits {
                connections_max: 4096,
                idle_timeout: Duration::from_secs(120),
            },
            body_timeout: Duration::from_secs(60),
        }
    }
}
