//! The resolvers of the host, asked from the host's own namespace for what workloads ask and we do not
//! know.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use simple_dns::RCODE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dns::{ADDRESS, PORT, Transport, failure, is_excuse};

/// Where the host says which resolvers it asks (`resolv.conf(5)`).
const RESOLVERS: &str = "/etc/resolv.conf";
/// How many of them are asked at most, as by others (`MAXNS`).
const RESOLVERS_MAX: usize = 3;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks one resolver after the other, until one answers that does not just say that it cannot. There is always
/// an answer, be it that there is none.
pub(super) async fn ask(message: &[u8], transport: Transport) -> Vec<u8> {
    let resolvers = resolvers(&fs::read_to_string(RESOLVERS).unwrap_or_default());
    let mut excuse = None;
    for resolver in &resolvers {
        let to = SocketAddr::new(*resolver, PORT);
        let answer = match transport {
            Transport::Udp => timeout(PATIENCE, by_udp(to, message)).await,
            Transport::Tcp => timeout(PATIENCE, by_tcp(to, message)).await,
        };
        match answer {
            Ok(Ok(answer)) if is_excuse(&answer) => excuse = Some(answer),
            Ok(Ok(answer)) => return answer,
            _ => {}
        }
    }
    if let Some(excuse) = excuse {
        return excuse;
    }
    // Where there is nobody to ask, there are no other names.
    let reason = if resolvers.is_empty() {
        RCODE::NameError
    } else {
        RCODE::ServerFailure
    };
    failure(message, reason)
}

async fn by_udp(to: SocketAddr, message: &[u8]) -> Result<Vec<u8>> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for each question makes answers hard to forge (RFC 5452 section 9.2).
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let answer = &buffer[..len];
        if answer.get(..2) == message.get(..2) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_tcp(to: SocketAddr, message: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(&framed(message)).await?;
    let len = stream.read_u16().await.context("read an answer")?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// A message behind its length (RFC 1035 section 4.2.2), which fits.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let message = &message[..usize::from(len)];
    [&len.to_be_bytes(), message].concat()
}

/// The resolvers that a file names, but for our own.
fn resolvers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next())?
    });
    lines
        .filter_map(|word| word.parse().ok())
        .filter(|address| *address != IpAddr::from(ADDRESS))
        .take(RESOLVERS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_host() {
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 127.0.0.53\n\
                    nameserver 169.254.0.53\nnameserver fe80::1%eth0\nnameserver 2001:db8::1 \n";
        let found: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53", "2001:db8::1"]);
    }
}
