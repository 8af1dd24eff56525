//! What a service tells systemd, if systemd wants to know (`sd_notify(3)`): one datagram per word.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// It is ready: what is recorded as loaded is in force.
pub(super) fn ready() {
    tell("READY=1");
}

/// It is about to end.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

/// It still works.
pub(super) fn alive() {
    tell("WATCHDOG=1");
}

/// Nothing depends on it that systemd hears us.
fn tell(word: &str) {
    if let Some(socket) = env::var_os("NOTIFY_SOCKET") {
        let _unheard = send(&socket, word);
    }
}

fn send(socket: &OsStr, word: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(word.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_hear_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("bowline-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&address)),
        ];
        for (socket, listener) in listeners {
            send(&socket, "READY=1").unwrap();
            let mut buffer = [0; 16];
            let len = listener.unwrap().recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"READY=1");
        }
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
