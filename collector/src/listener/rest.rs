//! What a request's body still holds when its answer is known. A connection that ends before all
//! was read is reset, and its peer, which still writes, may never read the answer. In: a request.
//! Out: the same; what a router leaves unread is read on beside the answer, within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::HttpBody,
    extract::Request,
    http::{Version, header},
};
use bytes::{Buf, Bytes};
use fathomline_wire::limits::BODY_BYTES_MAX;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// How long it may take to write what nobody waits for.
const REST_LIMIT: Duration = Duration::from_secs(2);

/// A body of which the rest is read even if nobody wants it.
pub(super) struct Kept {
    body: Option<Incoming>,
    /// Its rest keeps nobody else's connection from working.
    is_alone: bool,
}

/// Streams of HTTP/2 end one by one, and who waits to be asked for a body has written nothing.
pub(super) fn keep_reading(request: Request<Incoming>) -> Request<Kept> {
    let one_by_one = request.version() >= Version::HTTP_2;
    let is_alone = !one_by_one && !request.headers().contains_key(header::EXPECT);
    request.map(|body| Kept {
        body: Some(body),
        is_alone,
    })
}

impl Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        if let Some(body) = body.filter(|_| self.is_alone) {
            tokio::spawn(timeout(REST_LIMIT, read_on(body)));
        }
    }
}

async fn read_on(mut body: Incoming) {
    let mut room = BODY_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Buf::remaining);
        let Some(left) = room.checked_sub(read) else {
            return;
        };
        room = left;
    }
}
