//! By which name, and from which page, the server may be called.

use super::*;

/// Every route, and a method that it takes.
const ROUTES: [(&str, &str); 11] = [
    ("GET", "/"),
    ("GET", "/page.css"),
    ("GET", "/page.js"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/mcp"),
    ("OPTIONS", "/mcp"),
    ("POST", "/session"),
    ("POST", "/session/code"),
    ("GET", "/no-such-thing"),
];

#[tokio::test]
async fn a_foreign_name_or_page_gets_nothing_from_any_route() {
    let home = home("http-names", &[]);
    let server = Server::start(&home, "").await;
    let operate = token(&home, "http-token");
    let port = server.address.rsplit_once(':').unwrap().1;
    for (method, path) in ROUTES {
        let ask = || server.ask(method.parse().unwrap(), path).bearer(&operate);
        for host in ["evil.example", &format!("evil.example:{port}"), "localhost", "127.0.0.1:1"] {
            let reply = ask().with("host", host).send().await;
            assert_eq!(reply.refused(), (403, "invalid_argument".into()), "{path} {host}");
            assert!(reply.body.contains("`Host`") && reply.body.contains("http_hosts"));
        }
        for origin in ["http://evil.example", "null", "https://127.0.0.1", "http://localhost:1"] {
            let reply = ask().with("origin", origin).send().await;
            assert_eq!(reply.refused(), (403, "invalid_argument".into()), "{path} {origin}");
            assert!(reply.body.contains("`Origin`") && reply.body.contains("http_origins"));
            assert_eq!(reply.header("access-control-allow-origin"), "");
        }
        for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
            let origin = format!("http://{host}");
            let reply = ask().with("host", &host).with("origin", &origin).send().await;
            assert_ne!(reply.status, StatusCode::FORBIDDEN, "{path} {host}");
        }
    }
    // No name at all, two names, and a whole address in the request line.
    let own = &server.address;
    for head in [
        "GET /healthz HTTP/1.1\r\n".to_owned(),
        "GET /healthz HTTP/1.0\r\n".to_owned(),
        format!("GET /healthz HTTP/1.1\r\nHost: {own}\r\nHost: {own}.evil.example\r\n"),
        format!("GET http://evil.example/healthz HTTP/1.1\r\nHost: {own}\r\n"),
    ] {
        let mut stream = TcpStream::connect(own).await.unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.get(8..12) == Some(" 403"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn names_and_pages_that_the_operator_lists_are_served() {
    let board = "https://board.example";
    let home = home("http-listed", &[("RUNNER_KIT_HTTP_ORIGINS", board)]);
    let server = Server::start(&home, "--http-hosts runners.example").await;
    let operate = token(&home, "http-token");
    let ask = || {
        let ask = server.modern("tools/list", json!({})).bearer(&operate);
        ask.with("host", "runners.example")
    };
    for origin in [board, "https://runners.example"] {
        let reply = ask().with("origin", origin).send().await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), origin);
        assert!(reply.header("vary").to_ascii_lowercase().contains("origin"), "{reply:?}");
        assert_eq!(reply.header("access-control-allow-credentials"), "");
        let exposed: BTreeSet<_> =
            reply.header("access-control-expose-headers").split(',').collect();
        let expected = ["mcp-protocol-version", "mcp-session-id", "www-authenticate"];
        assert_eq!(exposed, BTreeSet::from(expected));
    }
    let reply = ask().send().await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
    assert!(reply.header("vary").to_ascii_lowercase().contains("origin"), "{reply:?}");
    // A page must be able to read why it was refused.
    let reply = server.modern("tools/list", json!({})).with("origin", board).send().await;
    assert_eq!(reply.refused().0, 401);
    assert_eq!(reply.header("access-control-allow-origin"), board);
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_is_allowed_and_needs_no_token() {
    let board = "https://board.example";
    let home = home("http-preflight", &[("RUNNER_KIT_HTTP_ORIGINS", board)]);
    let server = Server::start(&home, "").await;
    for path in ["/mcp", "/session", "/session/code", "/metrics"] {
        let reply = server
            .ask(Method::OPTIONS, path)
            .with("origin", board)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "authorization,content-type,mcp-method")
            .send()
            .await;
        assert!(reply.status.is_success() && reply.body.is_empty(), "{path}: {reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), board);
        let list = |name| reply.header(name).split(',').map(str::trim).collect::<BTreeSet<_>>();
        let methods = BTreeSet::from(["POST", "GET", "DELETE", "OPTIONS"]);
        assert_eq!(list("access-control-allow-methods"), methods);
        let headers = [
            "content-type",
            "accept",
            "authorization",
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
            "mcp-session-id",
            "last-event-id",
        ];
        assert_eq!(list("access-control-allow-headers"), BTreeSet::from(headers));
        assert_eq!(reply.header("access-control-allow-credentials"), "");
    }
}
