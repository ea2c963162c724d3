//! The engine's failures in our words.
//!
//! Engines tell what went wrong in prose only, so this is the one place that looks for words in it,
//! and only to choose a remedy, never a code.

use std::io;
use std::time::Duration;

use bollard::errors::Error as EngineError;

use super::connect::Endpoint;
use crate::error::{Code, Error};
use crate::model::clean_text;

/// Long enough for a busy engine to create a container, short enough that a hung one is noticed.
pub(super) const CALL: Duration = Duration::from_secs(30);

/// `call`, bounded as a whole: the client's own limit ends with the head of the answer.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(EngineError::RequestTimeoutError))
}

/// The HTTP status of an answer that was a refusal.
pub(super) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Nothing for success and for a thing that is not there.
pub(super) fn unless_missing(result: Result<(), EngineError>) -> Result<(), EngineError> {
    result.or_else(|error| if status(&error) == Some(404) { Ok(()) } else { Err(error) })
}

/// An engine that does not answer, or answers what no working engine would.
pub(super) fn not_accessible(endpoint: &Endpoint, error: &EngineError) -> Error {
    let (reason, remedy) = match (error, io_kind(error)) {
        (EngineError::SocketNotFoundError(_), _) | (_, Some(io::ErrorKind::NotFound)) => (
            format!("there is no socket at {endpoint}"),
            "Install or start Docker (`systemctl start docker`), or set DOCKER_HOST if it listens \
             elsewhere."
                .to_owned(),
        ),
        (_, Some(io::ErrorKind::PermissionDenied)) => (
            format!("permission denied at {endpoint}"),
            "Add your user to the docker group (`sudo usermod -aG docker $USER`), then log in \
             again."
                .to_owned(),
        ),
        (_, Some(io::ErrorKind::ConnectionRefused)) => (
            format!("nobody listens at {endpoint}"),
            "Start Docker (`systemctl start docker`), and look whether DOCKER_HOST names the \
             right engine."
                .to_owned(),
        ),
        (EngineError::RequestTimeoutError, _) => (
            format!("the engine at {endpoint} did not answer in time"),
            "Look whether `docker info` answers; if it hangs, restart Docker.".to_owned(),
        ),
        (EngineError::DockerResponseServerError { status_code, message }, _) => (
            format!("{endpoint} answered {status_code}: {}", sentence(message)),
            "Look whether `docker info` answers, and into the engine's own log.".to_owned(),
        ),
        _ => (
            format!("{endpoint} could not be asked: {}", sentence(&error.to_string())),
            "Look whether DOCKER_HOST names a Docker Engine, and whether `docker info` answers."
                .to_owned(),
        ),
    };
    Error::new(Code::DockerUnreachable, format!("Docker is not accessible: {reason}."), remedy)
}

/// A runner that could not be created or started.
pub(super) fn not_started(endpoint: &Endpoint, image: &str, error: &EngineError) -> Error {
    let EngineError::DockerResponseServerError { status_code, message } = error else {
        return not_accessible(endpoint, error);
    };
    let has = |words: &[&str]| words.iter().any(|word| message.to_lowercase().contains(word));
    let remedy = if *status_code == 409 {
        "Remove the other container of this name, or wait until it is gone.".to_owned()
    } else if has(&["no such image"]) {
        format!("Get the image with `docker pull {image}`, or set pull to missing.")
    } else if has(&["network"]) {
        "Look at network_mode: `docker network ls` shows the networks there are.".to_owned()
    } else if has(&["no space left"]) {
        "Free disk space on the engine's host, for example with `docker system prune`.".to_owned()
    } else if has(&["bind source path", "mount"]) {
        "Look whether the engine can see runner_work_dir and its own socket.".to_owned()
    } else if has(&["executable file not found", "no such file", "exec", "entrypoint"]) {
        format!("Look whether runner_image is a runner image: {image} has no such command.")
    } else {
        format!("Try `docker run --rm {image}`, and look into the engine's log.")
    };
    container_failed(message, remedy)
}

/// The error of a runner or its image, with the engine's own words.
pub(super) fn container_failed(reason: &str, remedy: impl Into<String>) -> Error {
    let message = format!("Container failed to start: {}.", sentence(reason));
    Error::new(Code::ContainerFailed, message, remedy)
}

/// `text` on one line, without the full stop that the caller sets.
fn sentence(text: &str) -> String {
    clean_text(text.trim().trim_end_matches('.'), 400)
}

fn io_kind(error: &EngineError) -> Option<io::ErrorKind> {
    if let EngineError::IOError { err } = error {
        return Some(err.kind());
    }
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> Endpoint {
        Endpoint::Unix("/run/docker.sock".into())
    }

    fn refusal(status_code: u16, message: &str) -> EngineError {
        EngineError::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn each_way_of_not_reaching_docker_has_its_own_remedy() {
        for (kind, remedy) in [
            (io::ErrorKind::NotFound, "start Docker"),
            (io::ErrorKind::PermissionDenied, "usermod -aG docker"),
            (io::ErrorKind::ConnectionRefused, "DOCKER_HOST"),
        ] {
            let error = not_accessible(&socket(), &io::Error::from(kind).into());
            assert_eq!((error.code, error.retryable), (Code::DockerUnreachable, true));
            assert!(error.message.starts_with("Docker is not accessible"), "{error}");
            assert!(error.remedy.contains(remedy), "{error}");
        }
    }

    #[test]
    fn a_refused_container_tells_the_engines_own_words_and_what_to_do() {
        for (message, remedy) in [
            ("No such image: x:latest", "docker pull tiny"),
            ("network nowhere not found", "network_mode"),
            ("write /x: no space left on device", "disk space"),
            ("exec: \"/nope\": stat /nope: no such file or directory", "runner_image"),
        ] {
            let error = not_started(&socket(), "tiny", &refusal(400, message));
            assert_eq!(error.code, Code::ContainerFailed);
            assert!(error.message.starts_with("Container failed to start: "), "{error}");
            assert!(error.message.contains(message), "{error}");
            assert!(error.remedy.contains(remedy), "{error}");
        }
    }

    #[test]
    fn an_engine_that_hangs_is_not_the_runners_fault() {
        let error = not_started(&socket(), "tiny", &EngineError::RequestTimeoutError);
        assert_eq!(error.code, Code::DockerUnreachable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_is_given_up() {
        let result = within::<()>(CALL, std::future::pending()).await;
        assert!(matches!(result, Err(EngineError::RequestTimeoutError)));
    }
}
