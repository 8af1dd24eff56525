//! The sockets that Docker and the command line find the driver by.

use std::fs;
use std::future;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use crate::kernel::activation;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket that Docker or the command line finds us by.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    /// What is to be removed in the end; a socket of systemd's stays.
    path: Option<PathBuf>,
}

impl Socket {
    /// Listens for Docker: at the socket that systemd has made, or at one of our own.
    pub(super) fn of_docker(path: &Path) -> Result<Self> {
        if let Some(socket) = activation::socket() {
            let listener = std::os::unix::net::UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            return Ok(Self {
                listener: UnixListener::from_std(listener).context("take systemd's socket")?,
                path: None,
            });
        }
        Self::at(path)
            .context("this is where Docker finds the driver; --docker chooses another one")
    }

    /// Listens at a socket of our own.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let listen = || -> io::Result<UnixListener> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            // An agent that was killed has left it: there is one agent of an instance.
            match fs::symlink_metadata(path) {
                Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
                _ => {}
            }
            UnixListener::bind(path)
        };
        let listener = listen().with_context(|| format!("listen at {}", path.display()))?;
        Ok(Self {
            listener,
            path: Some(path.to_owned()),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // The next agent would remove it.
            let _left = fs::remove_file(path);
        }
    }
}

/// The next one who asks at a socket, if there is one.
pub(super) async fn accept(socket: Option<&Socket>) -> UnixStream {
    let Some(socket) = socket else {
        return future::pending().await;
    };
    loop {
        match socket.listener.accept().await {
            Ok((stream, _from)) => return stream,
            // There are no more file descriptors, for example.
            Err(_) => sleep(PAUSE).await,
        }
    }
}
