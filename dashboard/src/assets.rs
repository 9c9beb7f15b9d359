//! Style and mark, built into the binary. Owns their names, which carry a hash of their content so
//! that browsers may keep them for ever. In: a name. Out: bytes, or 404. Never: files on disk.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One built-in file.
struct Asset {
    name: String,
    kind: &'static str,
    body: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, body: &'static str) -> Self {
        let name = format!("{stem}.{:016x}.{ending}", fnv(body.as_bytes()));
        Self { name, kind, body }
    }

    fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_str!("../assets/fathomline.css");
    Asset::new("fathomline", "css", "text/css; charset=utf-8", body)
});
static MARK: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_str!("../assets/mark.svg");
    Asset::new("mark", "svg", "image/svg+xml", body)
});

/// Where the style sheet is.
pub(crate) fn style_path() -> String {
    STYLE.path()
}

/// Where the mark is, for the tab.
pub(crate) fn mark_path() -> String {
    MARK.path()
}

/// An asset by its hashed name.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    let assets: [&Asset; 2] = [&STYLE, &MARK];
    match assets.into_iter().find(|asset| asset.name == name) {
        Some(asset) => {
            let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, FOR_EVER)];
            (headers, asset.body).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such asset\n").into_response(),
    }
}

/// FNV-1a, 64 bits: names change when content does, nothing here depends on collisions.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
