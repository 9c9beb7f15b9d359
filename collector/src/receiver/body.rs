//! Reading a body nobody has checked. In: frames at the sender's pace. Out: the bytes, or the
//! refusal: too many, too slow, cut off, or no memory for them at present.

use std::{pin::pin, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use fathomline_wire::rejection::Rejection;
use http_body_util::BodyExt;

use super::budget::Hold;
use crate::intake::Refusal;

/// Reads `body` into memory that `hold` was given for it.
pub(super) async fn read(
    body: Body,
    bytes_max: usize,
    within: Duration,
    hold: &mut Hold,
) -> Result<Bytes, Refusal> {
    // A sender that says how much it will send is told at once that it is too much.
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    if announced > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let read = tokio::time::timeout(within, collect(body, bytes_max, hold)).await;
    read.unwrap_or_else(|_| {
        let detail = format!("the body did not end within {} s", within.as_secs_f64());
        Err(Refusal::new(Rejection::Slow, detail))
    })
}

async fn collect(body: Body, bytes_max: usize, hold: &mut Hold) -> Result<Bytes, Refusal> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame.map_err(ended_early)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + part.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // Parts are copied together, and the buffer they go to doubles.
        let alone = first.is_empty() && rest.is_empty();
        hold.grow(if alone { 1 } else { 3 } * part.len())?;
        match (first.is_empty(), rest.is_empty()) {
            // Most bodies come in one part, which is not copied.
            (true, true) => first = part,
            (false, true) => {
                hold.grow(first.len())?;
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&part);
            }
            (_, false) => rest.extend_from_slice(&part),
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

fn too_large(bytes_max: usize) -> Refusal {
    let detail = format!("the body has more than {bytes_max} bytes");
    Refusal::new(Rejection::TooLarge, detail)
}

fn ended_early(error: axum::Error) -> Refusal {
    let detail = format!("the body ended early: {error}");
    Refusal::new(Rejection::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::receiver::budget::Budget;

    fn parts(parts: &[&'static [u8]]) -> Body {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part)))
            .collect();
        Body::from_stream(stream::iter(parts))
    }

    async fn read_parts(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
        let mut hold = Budget::new(1 << 20).admit().unwrap();
        read(body, bytes_max, Duration::from_secs(5), &mut hold).await
    }

    #[tokio::test]
    async fn parts_come_together_in_order_up_to_the_limit() {
        for body in [parts(&[b"abcd"]), parts(&[b"a", b"b", b"", b"cd"])] {
            assert_eq!(read_parts(body, 4).await.unwrap(), "abcd");
        }
        for body in [
            parts(&[b"abcd"]),
            parts(&[b"a", b"bcd"]),
            Body::from("abcd"),
        ] {
            let refusal = read_parts(body, 3).await.unwrap_err();
            assert_eq!(refusal.rejection, Rejection::TooLarge);
        }
        assert!(read_parts(Body::empty(), 3).await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let refusal = read_parts(body, 3).await.unwrap_err();
        assert_eq!(refusal.rejection, Rejection::Slow);
    }
}
