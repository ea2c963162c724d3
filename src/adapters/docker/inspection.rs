//! What an engine says of one container, in the words of our own options.

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use chrono::{DateTime, Utc};

use crate::model::{Inspection, clean_text};

/// Billionths of a processor in a thousandth of one.
const NANOS: i64 = 1_000_000;

pub(super) fn inspection(container: ContainerInspectResponse) -> Inspection {
    let state = container.state.unwrap_or_default();
    let config = container.config.unwrap_or_default();
    let host = container.host_config.unwrap_or_default();
    let text = |text: Option<String>| clean_text(&text.unwrap_or_default(), 200);
    let count = |number: Option<i64>| u64::try_from(number.unwrap_or_default()).unwrap_or_default();
    let ended = matches!(
        state.status,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)
    );
    let mounts = container.mounts.unwrap_or_default();
    let is_socket =
        |path: &Option<String>| path.as_deref().is_some_and(|path| path.ends_with("/docker.sock"));
    Inspection {
        image: text(config.image),
        started_at: state.started_at.as_deref().and_then(time),
        exit_code: state.exit_code.filter(|_| ended),
        oom_killed: state.oom_killed.unwrap_or_default(),
        user: text(config.user),
        network: text(host.network_mode),
        memory_limit: count(host.memory),
        milli_cpus: count(host.nano_cpus.map(|nanos| nanos / NANOS)),
        pids_limit: count(host.pids_limit),
        read_only: host.readonly_rootfs.unwrap_or_default(),
        docker_socket: mounts.iter().any(|mount| is_socket(&mount.destination)),
    }
}

/// A time of the engine, whose year one means never.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (time > DateTime::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState, HostConfig, MountPoint};

    use super::*;

    #[test]
    fn an_inspection_tells_limits_and_reach_in_the_units_of_the_options() {
        let socket = Some("/var/run/docker.sock".to_owned());
        let told = inspection(ContainerInspectResponse {
            state: Some(ContainerState {
                status: Some(ContainerStateStatusEnum::RUNNING),
                started_at: Some("2026-01-02T03:04:05.6Z".to_owned()),
                exit_code: Some(0),
                ..ContainerState::default()
            }),
            config: Some(ContainerConfig {
                image: Some("runner:1\u{1b}[31m".to_owned()),
                user: Some("runner".to_owned()),
                ..ContainerConfig::default()
            }),
            host_config: Some(HostConfig {
                memory: Some(1 << 30),
                nano_cpus: Some(1_500_000_000),
                pids_limit: Some(-1),
                network_mode: Some("host".to_owned()),
                ..HostConfig::default()
            }),
            mounts: Some(vec![MountPoint { destination: socket, ..MountPoint::default() }]),
            ..ContainerInspectResponse::default()
        });
        assert_eq!((told.memory_limit, told.milli_cpus, told.pids_limit), (1 << 30, 1500, 0));
        assert_eq!(told.image, "runner:1[31m");
        assert_eq!((told.exit_code, told.docker_socket), (None, true));
        assert_eq!(told.started_at.unwrap().timestamp(), 1_767_323_045);
    }

    #[test]
    fn a_process_that_never_began_has_no_time() {
        assert_eq!(time("0001-01-01T00:00:00Z"), None);
    }
}
