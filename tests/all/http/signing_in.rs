//! From a printed link to a session, and what a session is not good for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

fn code(link: &str) -> String {
    link.split_once("/#code=").unwrap_or_else(|| panic!("{link}")).1.to_owned()
}

async fn sign_in(server: &Server, code: &str) -> Reply {
    server.post("/session", json!({ "code": code }).to_string()).send().await
}

async fn session(server: &Server, code: &str) -> Value {
    let reply = sign_in(server, code).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json()
}

#[tokio::test]
async fn the_printed_link_signs_one_browser_in_for_twelve_hours() {
    let home = home("http-link", &[]);
    let server = Server::start(&home, "").await;
    let link = server.link();
    assert!(link.starts_with(&format!("http://{}/#code=", server.address)), "{link}");
    let signed_in = session(&server, &code(&link)).await;
    assert_eq!(signed_in["role"], "operate");
    let left = (time(&signed_in["expires_at"]) - Utc::now()).num_minutes();
    assert!((719..=720).contains(&left), "{left}");
    assert_eq!(tools(&server, signed_in["token"].as_str().unwrap()).await, Some(7));
    let again = sign_in(&server, &code(&link)).await;
    assert_eq!(again.refused(), (401, "not_authenticated".into()));
}

#[tokio::test]
async fn what_is_no_code_is_refused_and_not_repeated() {
    let home = home("http-code", &[]);
    let server = Server::start(&home, "").await;
    for body in ["", "{", "[]", "null", "{}", r#"{"code": 1}"#, r#"{"code": "a", "x": "s3cret"}"#] {
        let reply = server.post("/session", body).send().await;
        assert_eq!(reply.refused(), (400, "invalid_argument".into()), "{body}");
        assert!(!reply.body.contains("s3cret"), "{reply:?}");
    }
    let limited = loop {
        let reply = sign_in(&server, "guess").await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            break reply;
        }
        assert_eq!(reply.refused(), (401, "not_authenticated".into()));
    };
    assert_eq!(limited.refused().1, "rate_limited");
    assert_eq!(limited.header("retry-after"), "1");
}

#[tokio::test]
async fn links_are_made_with_the_token_to_operate_and_nothing_else() {
    let home = home("http-fresh", &[]);
    let server = Server::start(&home, "").await;
    let (operate, look) = (token(&home, "http-token"), token(&home, "http-token-read"));
    let make = |token: &str, body: &str| {
        server.post("/session/code", body.to_owned()).bearer(token).send()
    };
    let fresh = make(&operate, r#"{"role": "look"}"#).await;
    assert_eq!(fresh.status, StatusCode::OK, "{fresh:?}");
    let fresh = fresh.json();
    let left = (time(&fresh["expires_at"]) - Utc::now()).num_seconds();
    assert!((590..=600).contains(&left), "{left}");
    let looking = session(&server, fresh["code"].as_str().unwrap()).await;
    let looking_token = looking["token"].as_str().unwrap();
    assert_eq!((&looking["role"], tools(&server, looking_token).await), (&json!("look"), Some(3)));

    let operating = session(&server, &code(&server.link())).await;
    let operating = operating["token"].as_str().unwrap();
    for token in [look.as_str(), looking_token, operating] {
        assert_eq!(make(token, "{}").await.refused(), (403, "read_only".into()));
    }
    assert_eq!(make("wrong", "{}").await.refused().0, 401);
    assert_eq!(make(&operate, r#"{"role": "root"}"#).await.refused().0, 400);
    let unsaid = make(&operate, "").await.json();
    assert_eq!(unsaid["role"], "operate");
}

/// What the server would sign, written down a second time.
fn signed(bearer: &str, claim: &str) -> String {
    let mac = |key: &[u8], text: &str| {
        Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes()
    };
    let key = mac(&Sha256::digest(bearer), "ipfs-accelerate session 1");
    format!("{claim}.{}", URL_SAFE_NO_PAD.encode(mac(&key, claim)))
}

#[tokio::test]
async fn old_forged_and_borrowed_sessions_are_refused() {
    let home = home("http-forged", &[]);
    let server = Server::start(&home, "").await;
    let (operate, look) = (token(&home, "http-token"), token(&home, "http-token-read"));
    let (past, future) = (Utc::now().timestamp() - 1, Utc::now().timestamp() + 60);
    let good = signed(&operate, &format!("operate.{future}"));
    assert_eq!(tools(&server, &good).await, Some(7));
    assert_eq!(tools(&server, &signed(&look, &format!("look.{future}"))).await, Some(3));
    let (claim, mac) = good.rsplit_once('.').unwrap();
    let bad = [
        signed(&operate, &format!("operate.{past}")),
        signed(&look, &format!("operate.{future}")),
        signed(&operate, &format!("look.{future}")),
        signed("another token than ours", &format!("operate.{future}")),
        signed("", &format!("operate.{future}")),
        signed(&operate, "operate."),
        signed(&operate, "operate"),
        format!("operate.{}.{mac}", future + 1),
        format!("{claim}."),
        format!("{claim}.{}", &mac[1..]),
        format!("{good}A"),
        claim.to_owned(),
        server.link(),
        code(&server.link()),
    ];
    for token in bad {
        assert_eq!(tools(&server, &token).await, None, "{token}");
    }
}

#[tokio::test]
async fn a_restart_signs_nobody_out_and_another_token_everybody() {
    let home = home("http-restart", &[]);
    let first = Server::start(&home, "").await;
    let link = first.link();
    let signed_in = session(&first, &code(&link)).await;
    let signed_in = signed_in["token"].as_str().unwrap();
    assert!(first.end().await.success());

    let second = Server::start(&home, "").await;
    assert_eq!(tools(&second, signed_in).await, Some(7));
    assert_eq!(sign_in(&second, &code(&link)).await.status, StatusCode::UNAUTHORIZED);
    assert!(second.end().await.success());

    std::fs::remove_file(home.path().join("state/ipfs-accelerate/http-token")).unwrap();
    let third = Server::start(&home, "").await;
    assert_eq!(tools(&third, signed_in).await, None);
}

#[tokio::test]
async fn another_link_is_a_command_away() {
    let home = home("http-command", &[]);
    let missing = home.run("mcp link").await;
    assert_eq!((missing.code, &missing.error()["code"]), (1, &json!("not_found")));
    // Asking makes no token.
    assert!(!home.path().join("state/ipfs-accelerate/http-token").exists());

    let mut server = Server::start(&home, "").await;
    let place = home.path().join("state/ipfs-accelerate/http-command.http.json");
    let told: Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    assert_eq!(told, json!({ "address": server.address, "pid": server.child.id().unwrap() }));

    for (line, role, offered) in [("mcp link", "operate", 7), ("mcp link --read-only", "look", 3)] {
        let data = home.run(line).await.data();
        assert_eq!(data["role"], role);
        let left = (time(&data["expires_at"]) - Utc::now()).num_seconds();
        assert!((590..=600).contains(&left), "{left}");
        let signed_in = session(&server, &code(data["link"].as_str().unwrap())).await;
        assert_eq!(tools(&server, signed_in["token"].as_str().unwrap()).await, Some(offered));
    }
    let text = home.run("mcp link --format text").await;
    let link = text.stdout.trim_end();
    assert!(link.starts_with(&format!("http://{}/#code=", server.address)), "{text:?}");
    session(&server, &code(link)).await;

    // A server that was killed has left its address; nobody is asked there any more.
    server.child.kill().await.unwrap();
    assert!(place.exists());
    let listener = std::net::TcpListener::bind(&server.address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let stale = home.run("mcp link").await;
    assert_eq!((stale.code, &stale.error()["code"]), (1, &json!("not_found")));
    let asked = listener.accept();
    assert!(asked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));

    let server = Server::start(&home, "").await;
    assert_eq!(home.run("mcp link").await.code, 0);
    assert!(server.end().await.success());
    assert!(!place.exists());
}

#[tokio::test]
async fn a_link_needs_the_same_token_as_the_server() {
    let chosen = home("http-other", &[("RUNNER_KIT_HTTP_TOKEN", "chosen-to-operate-1")]);
    let server = Server::start(&chosen, "").await;
    let file = chosen.path().join("other");
    std::fs::write(&file, "another-token-than-that").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = chosen.command(&format!("mcp link --http-token-file {}", file.display()));
    let done = command.env_remove("RUNNER_KIT_HTTP_TOKEN").output().await.unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(text.contains("not_authenticated") && text.contains("RUNNER_KIT_HTTP_TOKEN"), "{text}");
    assert!(server.end().await.success());
}

#[tokio::test]
async fn no_secret_is_ever_printed_or_logged() {
    let env = [("RUNNER_KIT_LOG", "trace"), ("RUST_BACKTRACE", "1")];
    let home = home("http-secrets", &env);
    let server = Server::start(&home, "--verbose").await;
    let printed = server.link();
    let made = home.run("mcp link").await;
    let fresh = code(made.data()["link"].as_str().unwrap());
    let signed_in = session(&server, &fresh).await;
    let signed_in = signed_in["token"].as_str().unwrap().to_owned();
    let (operate, look) = (token(&home, "http-token"), token(&home, "http-token-read"));
    for token in [&operate, &look, &signed_in] {
        assert!(tools(&server, token).await.is_some());
        server.initialize().bearer(token).send().await;
        // Requests that go wrong are logged the most.
        for path in ["/mcp", "/session", "/session/code"] {
            server.post(path, format!("{{{token}")).bearer(token).send().await;
        }
    }
    assert!(!printed.contains(&operate) && !made.stdout.contains(&operate));
    let log = server.log.clone();
    assert!(server.end().await.success());
    let log = log.lock().unwrap().clone();
    assert!(log.contains("signed in"), "the log says nothing: {log}");
    for secret in [operate, look, signed_in, fresh] {
        assert!(!log.contains(&secret), "{log}");
    }
}
