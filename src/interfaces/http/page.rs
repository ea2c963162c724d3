//! The dashboard at `/`: files that are part of the program, and headers that keep it to them.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Nothing from elsewhere, nothing inline, in nobody's frame (W3C, Content Security Policy 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // The program may be a newer one at the next visit: the browser asks, and is told by the tag.
    (header::CACHE_CONTROL, "no-cache"),
];

/// One file of the page: where it is served, and what is in it.
type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal)*) => { [$((concat!("/", $path), include_str!(concat!("page/", $path)))),*] };
}

const START: File = ("/", include_str!("page/index.html"));

/// The SDK for JavaScript, the very file that is published.
const SDK: File = ("/sdk.js", include_str!("../../../sdk-js/src/index.mjs"));

const FILES: [File; 20] = files! {
    "page.css" "page.js" "icon.svg" "dom.js" "format.js" "live.js" "pages.js" "session.js" "theme.js"
    "views/actions.js" "views/charts.js" "views/dialogs.js" "views/history.js" "views/log.js"
    "views/queue.js" "views/runners.js" "views/status.js"
    "vendor/uPlot.iife.min.js" "vendor/uPlot.min.css" "vendor/LICENSE-uPlot"
};

pub(super) fn routes() -> Router {
    [START, SDK].into_iter().chain(FILES).fold(Router::new(), |router, (path, text)| {
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(text)));
        let tag: &'static str = tag.leak();
        router.route(path, get(async move |headers: HeaderMap| answer(path, text, tag, &headers)))
    })
}

fn answer(path: &str, text: &'static str, tag: &'static str, headers: &HeaderMap) -> Response {
    let own = [(header::CONTENT_TYPE, kind(path)), (header::ETAG, tag)];
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag);
    if known {
        return (StatusCode::NOT_MODIFIED, HEADERS, own).into_response();
    }
    (HEADERS, own, text).into_response()
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        None if path == "/" => "text/html; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn own() -> impl Iterator<Item = File> {
        FILES.into_iter().filter(|(path, _)| !path.starts_with("/vendor/")).chain([START])
    }

    #[test]
    fn nothing_in_the_page_is_inline_or_from_elsewhere() {
        for (path, text) in own() {
            for inline in [" style=", " onload=", " onclick=", "javascript:", "innerHTML", "eval("]
            {
                assert!(!text.contains(inline), "{path}: {inline}");
            }
            let elsewhere = ["http://", "https://", "\"//", "url(", "@import"];
            // The name of a picture's language looks like an address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for elsewhere in elsewhere {
                assert!(!text.contains(elsewhere), "{path}: {elsewhere}");
            }
        }
        for script in START.1.split("<script").skip(1) {
            let (open, inside) = script.split_once('>').unwrap();
            assert!(open.contains(" src=\"./") && inside.starts_with("</script>"), "{script}");
        }
    }

    #[test]
    fn every_file_that_is_there_is_served_and_short() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/interfaces/http/page");
        let mut found = 0;
        for below in ["", "views", "vendor"] {
            for file in std::fs::read_dir(directory.join(below)).unwrap() {
                let path = file.unwrap().path();
                let name = path.strip_prefix(&directory).unwrap().to_str().unwrap();
                if path.is_dir() || matches!(name, "index.html" | "vendor/README.md") {
                    continue;
                }
                found += 1;
                assert!(FILES.iter().any(|(path, _)| *path == format!("/{name}")), "{name}");
            }
        }
        assert_eq!(found, FILES.len());
        for (path, text) in own().filter(|(path, _)| path.ends_with(".js")) {
            assert!(text.lines().count() < 300, "{path}");
        }
    }

    #[test]
    fn the_code_of_others_is_what_was_published() {
        let notes = include_str!("page/vendor/README.md");
        let vendored = FILES.into_iter().filter(|(path, _)| path.starts_with("/vendor/"));
        for (path, text) in vendored {
            let sum: String = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
            assert!(notes.contains(&sum), "{path} has the sum {sum}");
        }
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        assert_eq!(answer("/page.js", "x", "\"a\"", &headers).status(), StatusCode::OK);
        headers.insert(header::IF_NONE_MATCH, "\"a\"".parse().unwrap());
        assert_eq!(answer("/page.js", "x", "\"a\"", &headers).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("/page.js", "x", "\"b\"", &headers).status(), StatusCode::OK);
    }
}
