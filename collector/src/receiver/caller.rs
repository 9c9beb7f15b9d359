//! Hands the connection's identity over: what `access` says about it, before a body is read. In: a
//! request of either door. Out: the same request with its [`Sender`], or the refusal. Applied to a
//! whole door, so that no route can forget it. Never decides.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use fathomline_wire::rejection::Rejection;

use super::reply::Reply;
use crate::{
    access::{
        Access,
        sender::{Origin, Sender},
    },
    clock::Clock,
    intake::Refusal,
    listener::Peer,
};

/// Who is asked, and what time it is.
#[derive(Clone)]
pub(crate) struct Callers {
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// For a door of HTTP.
pub(crate) async fn over_http(
    State(callers): State<Callers>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    callers
        .let_in(&peer, request, next, |reply, refusal| {
            reply.http(Err(refusal))
        })
        .await
}

/// For a door of gRPC.
pub(crate) async fn over_grpc(
    State(callers): State<Callers>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    callers
        .let_in(&peer, request, next, |reply, refusal| {
            reply.grpc(Err(refusal))
        })
        .await
}

impl Callers {
    async fn let_in(
        &self,
        peer: &Peer,
        mut request: Request,
        next: Next,
        refused: fn(Reply, Refusal) -> Response,
    ) -> Response {
        match self.sender(request.headers(), peer) {
            Ok(sender) => {
                request.extensions_mut().insert(sender);
                next.run(request).await
            }
            Err(refusal) => refused(Reply::at_the_door(request.headers()), refusal),
        }
    }

    fn sender(&self, headers: &axum::http::HeaderMap, peer: &Peer) -> Result<Sender, Refusal> {
        let origin = Origin {
            address: peer.address.ip(),
            certified: peer.certified.as_deref(),
            now_us: self.clock.now_us(),
        };
        self.access.sender(headers, &origin)
    }
}

/// The sender that a door has found; a request that came past it has none.
pub(super) fn of(extensions: &axum::http::Extensions) -> Result<Sender, Refusal> {
    let sender = extensions.get::<Sender>().cloned();
    sender.ok_or_else(|| Refusal::new(Rejection::Unauthenticated, "no door let this in"))
}
