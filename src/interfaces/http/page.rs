//! The page at `/`: three files that are part of the program, and headers that keep it to them.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing from elsewhere, nothing inline, in nobody's frame (W3C, Content Security Policy 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // The program may be a newer one at the next visit.
    (header::CACHE_CONTROL, "no-cache"),
];

pub(super) fn routes() -> Router {
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
}

fn file(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(async move || (HEADERS, [(header::CONTENT_TYPE, kind)], text).into_response())
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_in_the_page_is_inline_or_from_elsewhere() {
        let page = include_str!("page/index.html");
        for inline in ["<style", " style=", " onload=", " onclick=", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/page.js\"></script>"), "{script}");
        }
        for file in [page, include_str!("page/page.css"), include_str!("page/page.js")] {
            assert!(!file.contains("://"), "{file}");
        }
    }
}
