//! The Docker engine: which process is a container's, so that its network namespace can be entered, and
//! (`inventory`) what it has.

mod inventory;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::ListContainersOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, ClientVersion};

use crate::similar::Similar;

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// How long the engine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the engine.
#[derive(Debug)]
pub struct Docker {
    client: bollard::Docker,
    socket: String,
}

/// Why a container's process could not be found.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// `DOCKER_HOST` names an engine that is not on this machine.
    #[error(
        "DOCKER_HOST is `{0}`, but bowline plugs in containers of its own machine only: \
         unset it, or set it to unix:///path/to/docker.sock"
    )]
    NotLocal(String),
    /// There is no socket.
    #[error(
        "no Docker engine at {socket}: is Docker installed and running \
         (`systemctl start docker`)? If it listens elsewhere, set DOCKER_HOST"
    )]
    NoEngine {
        /// The socket.
        socket: String,
    },
    /// The socket may not be opened.
    #[error("no permission to use the Docker engine at {socket}: run as root, e.g. with sudo")]
    Permission {
        /// The socket.
        socket: String,
    },
    /// The engine is there, but does not answer as one should.
    #[error("the Docker engine at {socket} does not answer: {reason}")]
    NoAnswer {
        /// The socket.
        socket: String,
        /// What went wrong.
        reason: String,
    },
    /// There is no container of that name or id.
    #[error("there is no container `{name}`: {similar}")]
    NoSuchContainer {
        /// The name.
        name: String,
        /// The containers that exist.
        similar: Similar,
    },
    /// The container has no process.
    #[error("container `{name}` is not running ({state}); start it with: docker start {name}")]
    NotRunning {
        /// The name.
        name: String,
        /// What it is instead.
        state: String,
    },
    /// The container uses the host's own network.
    #[error(
        "container `{0}` was started with `--network host`: it has no network namespace of its \
         own; start it with `--network none`, or plug in the host itself (`host_network: true`)"
    )]
    HostNetwork(String),
}

impl Docker {
    /// Connects to the engine that `DOCKER_HOST` names, or to the usual socket, and agrees on a
    /// version of the API (Docker 20.10 speaks 1.41; 29.0 nothing below 1.44).
    ///
    /// # Errors
    ///
    /// [`DockerError::NotLocal`], [`NoEngine`](DockerError::NoEngine),
    /// [`Permission`](DockerError::Permission) or [`NoAnswer`](DockerError::NoAnswer).
    pub fn connect() -> Result<Self, DockerError> {
        Self::connect_to(std::env::var("DOCKER_HOST").ok().as_deref())
    }

    /// The same with the value of `DOCKER_HOST` given.
    ///
    /// # Errors
    ///
    /// As for [`Docker::connect`].
    pub fn connect_to(docker_host: Option<&str>) -> Result<Self, DockerError> {
        let socket = socket_of(docker_host)?;
        let server = api_version(&socket).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => DockerError::NoEngine {
                socket: socket.clone(),
            },
            io::ErrorKind::PermissionDenied => DockerError::Permission {
                socket: socket.clone(),
            },
            _ => no_answer(&socket, &error),
        })?;
        // A request for a newer version than the engine's is refused, even the one for the version.
        let known = version(
            API_DEFAULT_VERSION.major_version,
            API_DEFAULT_VERSION.minor_version,
        );
        let agreed = if (server.major_version, server.minor_version)
            < (known.major_version, known.minor_version)
        {
            server
        } else {
            known
        };
        let client = bollard::Docker::connect_with_unix(&socket, PATIENCE.as_secs(), &agreed)
            .map_err(|error| no_answer(&socket, &error))?;
        Ok(Self { client, socket })
    }

    /// The process id of a running container, given its name or id. A paused container has one; a
    /// container that was started with `--network container:OTHER` shares its namespace with OTHER,
    /// and either name leads there.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoSuchContainer`], [`NotRunning`](DockerError::NotRunning),
    /// [`HostNetwork`](DockerError::HostNetwork) or [`NoAnswer`](DockerError::NoAnswer).
    pub async fn pid(&self, container: &str) -> Result<u32, DockerError> {
        // The name becomes part of a request's path.
        let is_name = container
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !is_name || container.is_empty() || container.starts_with('.') {
            return Err(self.no_such(container).await);
        }
        match self.client.inspect_container(container, None).await {
            Ok(answer) => pid_of(container, &answer),
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Err(self.no_such(container).await),
            Err(error) => Err(no_answer(&self.socket, &error)),
        }
    }

    async fn no_such(&self, container: &str) -> DockerError {
        let all = ListContainersOptionsBuilder::new().all(true).build();
        // The answer only embellishes a message: an engine that fails here is asked no further.
        let list = self
            .client
            .list_containers(Some(all))
            .await
            .unwrap_or_default();
        let names = list
            .into_iter()
            .filter_map(|container| container.names)
            .flatten()
            .map(|name| name.trim_start_matches('/').to_owned());
        DockerError::NoSuchContainer {
            name: container.to_owned(),
            similar: Similar::new(container, names),
        }
    }
}

fn no_answer(socket: &str, reason: &dyn std::error::Error) -> DockerError {
    DockerError::NoAnswer {
        socket: socket.to_owned(),
        reason: reason.to_string(),
    }
}

fn socket_of(docker_host: Option<&str>) -> Result<String, DockerError> {
    match docker_host.filter(|host| !host.is_empty()) {
        None => Ok(DEFAULT_SOCKET.to_owned()),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(path.to_owned()),
            _ => Err(DockerError::NotLocal(host.to_owned())),
        },
    }
}

const fn version(major_version: usize, minor_version: usize) -> ClientVersion {
    ClientVersion {
        major_version,
        minor_version,
    }
}

/// The newest version of the API that the engine speaks. Only a request without a version can ask
/// for it, which the client library cannot make.
fn api_version(socket: &str) -> io::Result<ClientVersion> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(16 * 1024).read_to_end(&mut answer)?;
    version_in(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::other("it does not say which version of the API it speaks"))
}

fn version_in(answer: &str) -> Option<ClientVersion> {
    let value = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("api-version")
            .then_some(value.trim())
    })?;
    let (major, minor) = value.split_once('.')?;
    Some(version(major.parse().ok()?, minor.parse().ok()?))
}

fn pid_of(name: &str, answer: &ContainerInspectResponse) -> Result<u32, DockerError> {
    let mode = answer
        .host_config
        .as_ref()
        .and_then(|config| config.network_mode.as_deref());
    if mode == Some("host") {
        return Err(DockerError::HostNetwork(name.to_owned()));
    }
    let state = answer.state.as_ref();
    state
        .and_then(|state| state.pid)
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|&pid| pid != 0)
        .ok_or_else(|| DockerError::NotRunning {
            name: name.to_owned(),
            state: state
                .and_then(|state| state.status)
                .map_or_else(|| "state unknown".to_owned(), |status| status.to_string()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{ContainerState, ContainerStateStatusEnum, HostConfig};

    #[test]
    fn the_socket_is_a_local_one() {
        assert_eq!(socket_of(None).unwrap(), DEFAULT_SOCKET);
        assert_eq!(socket_of(Some("")).unwrap(), DEFAULT_SOCKET);
        assert_eq!(socket_of(Some("unix:///a/b.sock")).unwrap(), "/a/b.sock");
        for host in ["tcp://192.0.2.1:2375", "ssh://host", "unix://", "/a/b.sock"] {
            assert!(socket_of(Some(host)).is_err(), "{host}");
        }
    }

    #[test]
    fn an_engine_that_is_not_there_is_named() {
        let error = Docker::connect_to(Some("unix:///nowhere/docker.sock")).unwrap_err();
        assert!(matches!(error, DockerError::NoEngine { .. }));
        assert!(error.to_string().contains("/nowhere/docker.sock"));
    }

    #[test]
    fn the_version_is_in_a_header() {
        let answer = "HTTP/1.0 200 OK\r\nAPI-Version: 1.41\r\nServer: x\r\n\r\nOK";
        let found = version_in(answer).unwrap();
        assert_eq!((found.major_version, found.minor_version), (1, 41));
        assert!(version_in("HTTP/1.0 404 Not Found\r\n\r\n").is_none());
    }

    fn container(
        mode: &str,
        pid: i64,
        status: ContainerStateStatusEnum,
    ) -> ContainerInspectResponse {
        ContainerInspectResponse {
            host_config: Some(HostConfig {
                network_mode: Some(mode.to_owned()),
                ..HostConfig::default()
            }),
            state: Some(ContainerState {
                pid: Some(pid),
                status: Some(status),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn only_a_running_container_with_its_own_namespace_has_a_process_to_enter() {
        use ContainerStateStatusEnum::{EXITED, PAUSED, RUNNING};
        assert_eq!(pid_of("web", &container("none", 7, RUNNING)).unwrap(), 7);
        assert_eq!(
            pid_of("web", &container("container:1", 7, PAUSED)).unwrap(),
            7
        );
        let stopped = pid_of("web", &container("none", 0, EXITED)).unwrap_err();
        assert_eq!(
            stopped.to_string(),
            "container `web` is not running (exited); start it with: docker start web"
        );
        let host = pid_of("web", &container("host", 7, RUNNING)).unwrap_err();
        assert!(matches!(host, DockerError::HostNetwork(_)));
        let nothing = pid_of("web", &ContainerInspectResponse::default()).unwrap_err();
        assert!(matches!(nothing, DockerError::NotRunning { .. }));
    }
}
