//! Connections: accepted, bounded in number and patience, and ended in peace.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long open streams may go on when the server ends.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a client may take to send a request's head, and be silent between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// Most connections at a time; the engine and GitHub need file descriptors too.
const CONNECTIONS: usize = 512;
/// How long accepting rests when it fails.
const REST: Duration = Duration::from_millis(100);

/// Answers with `router` whoever comes to `listener`, until `stop` is cancelled.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let ending = GracefulShutdown::new();
    // Whatever goes on after the drain ends with this set.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    // Without it an event of a stream waits for the client's acknowledgement,
                    // 40 ms.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection stays slow");
                    }
                    let service = TowerToHyperService::new(router.clone());
                    let connection = http.serve_connection(TokioIo::new(stream), service);
                    let connection = ending.watch(connection);
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection broke off");
                        }
                    });
                }
                // Out of file descriptors, most likely: others may be closed meanwhile.
                Err(error) => {
                    tracing::warn!(%error, "a client was not accepted");
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, ending.shutdown()).await.is_err() {
        tracing::debug!("clients were cut off");
    }
}
