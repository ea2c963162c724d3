//! Serving on stdin and stdout.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::McpServer;
use crate::error::{Error, Result};

impl McpServer {
    /// Serves on stdin and stdout until the client hangs up or `shutdown` resolves. What was asked
    /// before the client hung up is answered; what has no end by itself ends.
    pub async fn serve_stdio(mut self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::internal(
                format!("The MCP session could not begin: {error}."),
                "Check the client.",
            )
        };
        let stdin = Input { inner: tokio::io::stdin(), ended: CancellationToken::new() };
        self.hung_up = stdin.ended.clone();
        tokio::pin!(shutdown);
        let running = tokio::select! {
            running = self.serve((stdin, tokio::io::stdout())) => match running {
                Ok(running) => running,
                // A client that hangs up before it says anything wants nothing.
                Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
                Err(error) => return Err(failed(&error)),
            },
            () = &mut shutdown => return Ok(()),
        };
        let end = running.cancellation_token();
        tokio::select! {
            ended = running.waiting() => ended.map(drop).map_err(|error| failed(&error)),
            () = &mut shutdown => {
                end.cancel();
                Ok(())
            }
        }
    }
}

/// Tells when there is no more to come, which the library keeps to itself for five seconds.
struct Input<R> {
    inner: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        if read.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0) {
            self.ended.cancel();
        }
        Poll::Ready(read)
    }
}
