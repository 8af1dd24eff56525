//! Two machines that a cable joins, each with a kernel of its own: `cargo xtask vm --pair`. Each runs this
//! as one of two hosts. Elsewhere there is nobody at the other end, and nothing to do.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use integration::lab::{
    Bowline, Namespace, eventually, eventually_some, is_usable, ping, receive_all, send_all, skip,
};

/// The variable that says which of the two hosts this is.
const END: &str = "BOWLINE_PAIR";
/// Its only interface besides the loopback one, as the kernel names it.
const CABLE: &str = "eth0";
/// Bytes of a transfer.
const LEN: u64 = 4 << 20;

/// The tunnels that are tried one after the other, and what the workloads have to do with it: other
/// addresses for each, so that neither host takes the other one's last try for the next.
const TUNNELS: [(&str, u8); 3] = [("vxlan", 1), ("geneve", 2), ("gre", 3)];

/// Hosts and workloads have the numbers 11 and 12, and the workloads are on two networks.
fn topology(tunnel: &str, number: u8, workload: &str) -> String {
    format!(
        "version: 1
name: pair
defaults: {{ tunnel: {tunnel} }}
hosts: {{ alpha: 192.0.2.11, beta: 192.0.2.12 }}
networks: {{ front: 10.{number}.1.0/24, back: 10.{number}.2.0/24 }}
routers: {{ core: {{ ports: {{ front: 10.{number}.1.1, back: 10.{number}.2.1 }} }} }}
policies: {{ db: {{ ingress: [{{ from: 10.{number}.1.0/24, allow: [tcp/5000, icmp/echo-request] }}] }} }}
workloads:
  web: {{ host: alpha, netns: {workload}, ports: [{{ network: front, addresses: 10.{number}.1.11 }}] }}
  db: {{ host: beta, netns: {workload}, ports: [{{ network: back, addresses: 10.{number}.2.12, groups: [db] }}] }}
"
    )
}

#[test]
fn two_machines_are_two_hosts() {
    let Ok(end) = std::env::var(END) else {
        skip("there is one machine; `cargo xtask vm --pair` makes two");
        return;
    };
    assert!(is_usable(), "it is a machine of our own");
    for module in ["virtio_pci", "virtio_net"] {
        let loaded = Command::new("modprobe").arg(module).status();
        assert!(loaded.expect("start modprobe").success(), "{module}");
    }
    let last = if end == "alpha" { 11 } else { 12 };
    let [host, workload] = [&*end, "work"].map(Namespace::new);
    eventually("the cable is plugged in", || {
        let mut command = Command::new("ip");
        let moved = command
            .args(["link", "set", CABLE, "netns", host.name()])
            .status();
        moved.is_ok_and(|status| status.success())
    });
    host.ip(&["link", "set", CABLE, "up"]);
    host.ip(&[
        "address",
        "add",
        &format!("192.0.2.{last}/24"),
        "dev",
        CABLE,
    ]);
    let other = format!("192.0.2.{}", 23 - last)
        .parse()
        .expect("an address");
    eventually("the other machine is reached", || ping(&host, other));
    let bowline = Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), &host);
    for (tunnel, number) in TUNNELS {
        bowline.load(&topology(tunnel, number, workload.name()));
        let to = SocketAddr::from(([10, number, 2, 12], 5000));
        if end == "alpha" {
            eventually("its workload is reached", || ping(&workload, to.ip()));
            // The other machine may not listen yet.
            let first = || {
                std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_secs(5)).ok()
            };
            eventually_some("it listens", || workload.run(first));
            let sent = send_all(&workload, to, LEN);
            assert!(sent.len >= LEN, "{sent:?}");
        } else {
            let listener = workload.run(|| TcpListener::bind(to)).expect("a listener");
            // The call that only finds out whether somebody listens.
            assert_eq!(receive_all(&listener).len, 0);
            let received = receive_all(&listener);
            assert_eq!(received.len, LEN, "{tunnel}");
            let flows = bowline.json(&["flows", "--protocol", "tcp"]);
            assert!(
                flows.as_array().is_some_and(|flows| !flows.is_empty()),
                "{flows}"
            );
        }
    }
    // Who is done first waits until the other one is, so that nobody speaks to a machine that is gone.
    let bye = SocketAddr::from((
        if last == 11 {
            [192, 0, 2, 11]
        } else {
            [192, 0, 2, 12]
        },
        5001,
    ));
    let listener = host.run(|| TcpListener::bind(bye)).expect("a listener");
    if end == "alpha" {
        drop(listener.accept().expect("the other machine is done"));
    } else {
        let alpha = SocketAddr::from(([192, 0, 2, 11], 5001));
        let call =
            || std::net::TcpStream::connect_timeout(&alpha, std::time::Duration::from_secs(5)).ok();
        eventually_some("the other machine is done", || host.run(call));
    }
    bowline.succeed(&["unload", "pair"]);
}
