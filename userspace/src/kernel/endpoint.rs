//! Links that Docker asked for: both ends are made on the host, and Docker moves one of them into its
//! container and back. Nothing is known of the namespace in between, and nothing needs to be.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use rtnetlink::packet_route::link::{In6AddrGenMode, InfoData, InfoVeth, LinkAttribute};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::interface::{self, Interface, system_error};
use super::link::Links;
use crate::link::{Handover, Whereabouts};

impl Links {
    /// Makes a link, or completes one that was half-made. Its ends are down: [`Links::raise`] is for when
    /// the datapath is attached to it. One that is there already stays as it is.
    ///
    /// # Errors
    ///
    /// Somebody else has an interface of one of the names, or the kernel refuses.
    pub async fn hand_over(&self, link: &Handover) -> Result<()> {
        let make = async {
            if let Some(end) = interface::interface(self.handle(), &link.name).await? {
                match &end.alias {
                    Some(alias) if *alias == link.alias => return Ok(()),
                    Some(_) => bail!("the host already has an interface {}", link.name),
                    None => self.remove(end.index).await?,
                }
            }
            let peer = LinkMessageBuilder::<LinkUnspec>::new()
                .name(&link.inside)
                .address(link.mac.octets().to_vec())
                .mtu(link.mtu)
                .build();
            let pair = LinkVeth::new(&link.name, &link.inside)
                .mtu(link.mtu)
                .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
                .build();
            let made = self.handle().link().add(pair).execute().await;
            made.map_err(system_error)?;
            let end = self.end(&link.name).await?;
            interface::set_address_mode(self.handle(), end.index, In6AddrGenMode::None).await?;
            // The name of the other end goes with it: from now on it is a whole link.
            let message = LinkUnspec::new_with_index(end.index)
                .arp(false)
                .append_extra_attribute(LinkAttribute::IfAlias(link.alias.clone()));
            interface::change(self.handle(), message)
                .await
                .map_err(system_error)
        };
        make.await
            .with_context(|| format!("make the link {}", link.name))
    }

    /// Lets frames through the host's end of a link.
    ///
    /// # Errors
    ///
    /// There is no such link, or the kernel refuses.
    pub async fn raise(&self, name: &str) -> Result<()> {
        let end = self.end(name).await?;
        if end.up {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(end.index).up();
        interface::change(self.handle(), message)
            .await
            .map_err(system_error)
            .with_context(|| format!("set {name} up"))
    }

    /// All links of this kind by the names of the ends that stay, and where their other ends are.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub async fn handed_over(&self) -> Result<BTreeMap<String, Whereabouts>> {
        let ends = interface::interfaces(self.handle()).await?.into_iter();
        let own = ends.filter(|end| end.is_veth && self.instance().is_endpoint_end(&end.name));
        let place = |end: &Interface| match end.peer_netns {
            Some(_) => Whereabouts::Away,
            None => Whereabouts::OnHost,
        };
        Ok(own.map(|end| (end.name.clone(), place(&end))).collect())
    }

    /// Deletes a link of this kind, whole or half-made; one that is not there any more is no error.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub async fn take_back(&self, name: &str) -> Result<()> {
        match interface::interface(self.handle(), name).await? {
            Some(end) if end.is_veth => self.remove(end.index).await,
            _ => Ok(()),
        }
    }
}
