//! What may be wrong with a host, and what helps. Nothing is looked at here: what others have found out
//! is judged.

use serde::Serialize;

/// How well something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Well,
    /// It works, and somebody should know of it.
    Warning,
    /// Something does not work because of it.
    Failed,
}

impl Health {
    /// What it is called.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What was found of one thing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How well it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What helps.
    pub cure: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn well(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            health: Health::Well,
            found: found.into(),
            cure: None,
        }
    }

    /// Somebody should know.
    #[must_use]
    pub fn warning(
        subject: &'static str,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            health: Health::Warning,
            cure: Some(cure.into()),
            ..Self::well(subject, found)
        }
    }

    /// Something does not work.
    #[must_use]
    pub fn failed(
        subject: &'static str,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            health: Health::Failed,
            ..Self::warning(subject, found, cure)
        }
    }
}

/// How programs are run (`net.core.bpf_jit_enable`).
#[must_use]
pub fn jit(setting: Option<&str>) -> Finding {
    let subject = "BPF compiler";
    match setting {
        Some("0") => Finding::warning(
            subject,
            "the kernel interprets programs instead of compiling them: each packet takes many times as \
             long",
            "sysctl -w net.core.bpf_jit_enable=1, and the same in /etc/sysctl.d",
        ),
        // A kernel that only compiles need not have the setting.
        _ => Finding::well(subject, "programs are compiled"),
    }
}

/// Which ports are left for connections that are masqueraded: those that the host's own programs are not
/// given (`net.ipv4.ip_local_port_range`).
#[must_use]
pub fn ports(first: u16, last: u16) -> Finding {
    let subject = "ports for masquerading";
    let own = u32::from(last.max(1024)) - u32::from(first.clamp(1024, last.max(1024))) + 1;
    let left = (u32::from(u16::MAX) - 1023).saturating_sub(own);
    let found = format!(
        "{left} are left beside those of the host's own programs (net.ipv4.ip_local_port_range is {first} to \
         {last})"
    );
    if left < 4096 {
        let cure = "leave more: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"";
        return Finding::warning(subject, found, cure);
    }
    Finding::well(subject, found)
}

/// Whether the way to a peer carries what it should: bytes of the largest packets of the underlay.
#[must_use]
pub fn path(peer: &str, is_up: bool, found: Option<u32>, promised: u32) -> Finding {
    let subject = "peers";
    if !is_up {
        return Finding::failed(
            subject,
            format!("{peer} does not answer"),
            "look whether it runs, has the same file loaded, and whether the underlay lets the tunnel pass \
             (UDP 4789 for VXLAN, 6081 for Geneve, IP protocol 47 for GRE)",
        );
    }
    match found {
        Some(found) if found < promised => Finding::warning(
            subject,
            format!("packets of up to {found} bytes get to {peer}, and {promised} are promised"),
            format!("raise the MTU on the way, or write `mtu: {found}` at one of the two hosts"),
        ),
        Some(found) => Finding::well(
            subject,
            format!("{peer} answers, and carries {found} bytes"),
        ),
        None => Finding::well(subject, format!("{peer} answers")),
    }
}

/// Whether a plugin's answer to Docker's handshake is that of a network and IPAM driver.
#[must_use]
pub fn handshake(socket: &str, answer: Result<&str, &str>) -> Finding {
    let subject = "Docker's driver";
    let cure = "restart the agent: systemctl restart bowline-agent";
    match answer {
        Ok(body) if body.contains("NetworkDriver") && body.contains("IpamDriver") => {
            Finding::well(subject, format!("answers at {socket}"))
        }
        Ok(body) => Finding::failed(subject, format!("{socket} answers `{body}`"), cure),
        Err(reason) => Finding::failed(subject, format!("{socket}: {reason}"), cure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interpreter_is_slow() {
        assert_eq!(jit(Some("0")).health, Health::Warning);
        assert_eq!(jit(Some("1")).health, Health::Well);
        assert_eq!(jit(None).health, Health::Well);
    }

    #[test]
    fn a_host_that_takes_all_ports_leaves_none() {
        let usual = ports(32768, 60999);
        assert_eq!(usual.health, Health::Well);
        assert!(usual.found.starts_with("36280 "), "{}", usual.found);
        let greedy = ports(1024, 65535);
        assert_eq!(greedy.health, Health::Warning);
        assert!(greedy.found.starts_with("0 "), "{}", greedy.found);
        // What is below is nobody's to give.
        assert_eq!(ports(1, 65535).health, Health::Warning);
        assert_eq!(ports(1, 1000).health, Health::Well);
    }

    #[test]
    fn a_peer_is_up_and_carries_what_it_should() {
        assert_eq!(path("beta", true, Some(1500), 1500).health, Health::Well);
        assert_eq!(path("beta", true, None, 1500).health, Health::Well);
        let narrow = path("beta", true, Some(1400), 1500);
        assert_eq!(narrow.health, Health::Warning);
        assert!(narrow.cure.unwrap().contains("`mtu: 1400`"));
        assert_eq!(path("beta", false, Some(1500), 1500).health, Health::Failed);
    }

    #[test]
    fn a_driver_says_that_it_is_one() {
        let both = r#"{"Implements":["NetworkDriver","IpamDriver"]}"#;
        assert_eq!(handshake("/x", Ok(both)).health, Health::Well);
        let other = r#"{"Implements":["VolumeDriver"]}"#;
        assert_eq!(handshake("/x", Ok(other)).health, Health::Failed);
        assert_eq!(handshake("/x", Err("refused")).health, Health::Failed);
    }
}
