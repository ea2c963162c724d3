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
        let stdin = Input::new(tokio::io::stdin());
        self.hung_up = stdin.ended.clone();
        let host = self.host.clone();
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
        let waiting = running.waiting();
        tokio::pin!(waiting);
        let ended = tokio::select! {
            ended = &mut waiting => ended,
            () = &mut shutdown => {
                end.cancel();
                waiting.await
            }
        };
        host.settle().await;
        ended.map(drop).map_err(|error| failed(&error))
    }
}

/// Messages are a line each; one that is longer than this is no message for us. Nothing else keeps
/// a client from filling the memory.
const LONGEST: usize = 1 << 20;

/// Bounds the lines of `inner`, and tells when there is no more to come, which the library keeps to
/// itself for five seconds.
struct Input<R> {
    inner: R,
    /// Bytes of the line that has not ended yet.
    line: usize,
    ended: CancellationToken,
}

impl<R> Input<R> {
    fn new(inner: R) -> Self {
        Self { inner, line: 0, ended: CancellationToken::new() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        let new = buffer.filled().get(before..).unwrap_or_default();
        self.line = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => new.len() - end - 1,
            None => self.line + new.len(),
        };
        if read.is_err() || (new.is_empty() && buffer.remaining() > 0) {
            self.ended.cancel();
        }
        if self.line > LONGEST {
            self.ended.cancel();
            // Who fails has read nothing.
            buffer.set_filled(before);
            let error = io::Error::new(io::ErrorKind::InvalidData, "a message is too long");
            return Poll::Ready(Err(error));
        }
        Poll::Ready(read)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn lines_pass_and_the_end_of_them_is_told() {
        let lines = "short\n".repeat(LONGEST / 3);
        let mut input = Input::new(lines.as_bytes());
        let mut read = String::new();
        input.read_to_string(&mut read).await.unwrap();
        assert!(read == lines && input.ended.is_cancelled());
    }

    #[tokio::test]
    async fn a_line_without_end_ends_the_session() {
        let endless = "{".repeat(LONGEST + 1);
        let mut input = Input::new(endless.as_bytes());
        let refused = input.read_to_string(&mut String::new()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(input.ended.is_cancelled());
    }
}
