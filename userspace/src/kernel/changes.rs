//! The kernel's own word that something about interfaces, addresses or routes is different now.

use anyhow::{Context, Result, bail};
use futures_util::{Stream, StreamExt};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};

/// What is listened to (`rtnetlink(7)`).
const GROUPS: &[MulticastGroup] = &[
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// What the kernel announces in the network namespace of the thread that made this.
pub struct Changes {
    announced: Box<dyn Stream<Item = ()> + Unpin>,
    /// The connection ends with the last of its handles.
    _handle: Handle,
}

impl Changes {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// No tokio runtime is running, or netlink is not available.
    pub fn listen() -> Result<Self> {
        let (connection, handle, announced) =
            new_multicast_connection(GROUPS).context("listen to netlink")?;
        tokio::spawn(connection);
        Ok(Self {
            announced: Box::new(announced.map(drop)),
            _handle: handle,
        })
    }

    /// Waits until something is different.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub async fn next(&mut self) -> Result<()> {
        match self.announced.next().await {
            Some(()) => Ok(()),
            None => bail!("netlink announces nothing any more"),
        }
    }
}
