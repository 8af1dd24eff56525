//! What workloads ask that only the host's resolvers know.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::{Namespace, eventually};

use super::Driver;
use super::outside::world;

/// The host's resolvers, in their order.
const RESOLVERS: [&str; 2] = ["192.0.2.3", "192.0.2.1"];
const RESOLVER: &str = "169.254.0.53";
/// Bits of the second half of a header's flags, and of the first (RFC 1035 section 4.1.1).
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;
const REFUSED: u8 = 5;
const TRUNCATED: u8 = 2;

/// A question for the IPv4 addresses of a name.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The name in a question.
fn name(message: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = &message[12..];
    while let Some((&len, tail)) = rest.split_first().filter(|(len, _)| **len > 0) {
        let (label, tail) = tail.split_at(usize::from(len));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = tail;
    }
    labels.join(".")
}

fn reply(question: &[u8], flags: (u8, u8), addresses: u8) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] = 0x81 | flags.0;
    message[3] = 0x80 | flags.1;
    message[7] = addresses;
    for last in 1..=addresses {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, last]);
    }
    message
}

/// What a resolver says, the first one or the second one.
fn said(first: bool, is_tcp: bool, question: &[u8]) -> Option<Vec<u8>> {
    let plain = reply(question, (0, 0), 1);
    Some(match name(question).as_str() {
        "plain.example" => plain,
        "long.example" if is_tcp => reply(question, (0, 0), 100),
        "long.example" => reply(question, (TRUNCATED, 0), 0),
        "failing.example" if first => reply(question, (0, SERVER_FAILURE), 0),
        "refused.example" if first => reply(question, (0, REFUSED), 0),
        "silent.example" if first => return None,
        "failing.example" | "refused.example" | "silent.example" => plain,
        "broken.example" => reply(question, (0, SERVER_FAILURE), 0),
        "lost.example" => return None,
        _ => reply(question, (0, NAME_ERROR), 0),
    })
}

type Log = Arc<Mutex<Vec<String>>>;

/// Serves as the host's resolvers; what they were asked.
fn serve(world: &Namespace) -> Log {
    let log = Log::default();
    for (number, address) in RESOLVERS.into_iter().enumerate() {
        let socket = world.run(|| UdpSocket::bind((address, 53))).unwrap();
        let note = Arc::clone(&log);
        thread::spawn(move || {
            let mut buffer = [0; 2000];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                let question = &buffer[..len];
                note.lock().unwrap().push(name(question));
                if let Some(reply) = said(number == 0, false, question) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        });
        let listener = world.run(|| TcpListener::bind((address, 53))).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let question = framed(&mut stream).unwrap();
                if let Some(reply) = said(number == 0, true, &question) {
                    send(&mut stream, &reply);
                }
            }
        });
    }
    log
}

/// A message behind its length (RFC 1035 section 4.2.2).
fn framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn send(stream: &mut TcpStream, message: &[u8]) {
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&len, message].concat()).unwrap();
}

/// What a workload is answered: the code, whether there is more by TCP, and how many addresses.
fn asked(from: &Namespace, name: &str, is_tcp: bool) -> Option<(u8, bool, u8)> {
    let to = SocketAddr::new(RESOLVER.parse::<IpAddr>().unwrap(), 53);
    let message = question(name);
    let patience = Some(Duration::from_secs(6));
    let answer = from.run(|| {
        if is_tcp {
            let mut stream = TcpStream::connect(to).ok()?;
            stream.set_read_timeout(patience).ok()?;
            send(&mut stream, &message);
            return framed(&mut stream);
        }
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.set_read_timeout(patience).ok()?;
        socket.send_to(&message, to).ok()?;
        let mut buffer = [0; 2000];
        let len = socket.recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    })?;
    assert_eq!(answer[..2], message[..2]);
    assert_eq!(self::name(&answer), name);
    Some((answer[3] & 0xf, answer[2] & TRUNCATED != 0, answer[7]))
}

#[test]
fn other_names_are_asked_of_the_hosts_resolvers() {
    let Some(mut driver) = Driver::set_apart("driver_upstream") else {
        return;
    };
    let world = world(&driver);
    world.ip(&["address", "add", "192.0.2.3/24", "dev", "eth0"]);
    let log = serve(&world);
    let [first, second] = RESOLVERS;
    let text = format!("search lab.example\nnameserver {first}\nnameserver {second}\n");
    fs::write(driver.stage.engine().path("/etc/resolv.conf"), text).unwrap();
    let front = driver.create("front", &["--subnet", "10.87.0.0/24", "--internal"]);
    let dns = ["--dns", RESOLVER, "--dns-search", "own.example"];
    driver.run("ups-web", &front, &dns);
    let pid = driver.inspect("ups-web", "{{.State.Pid}}");
    let inside = driver.stage.engine().namespace_of(pid.parse().unwrap());
    eventually("the resolver is there", || {
        asked(&inside, "ups-web", false) == Some((0, false, 1))
    });
    for (name, expected) in [
        ("plain.example", (0, false, 1)),
        ("long.example", (0, true, 0)),
        // Who cannot is no reason not to ask the next one.
        ("failing.example", (0, false, 1)),
        ("refused.example", (0, false, 1)),
        ("silent.example", (0, false, 1)),
        ("broken.example", (SERVER_FAILURE, false, 0)),
        ("lost.example", (SERVER_FAILURE, false, 0)),
        ("nowhere.example", (NAME_ERROR, false, 0)),
    ] {
        let began = Instant::now();
        assert_eq!(asked(&inside, name, false), Some(expected), "{name}");
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
    }
    // What was cut short is there by TCP then.
    assert_eq!(asked(&inside, "long.example", false), Some((0, true, 0)));
    assert_eq!(asked(&inside, "long.example", true), Some((0, false, 100)));
    // Names are asked for as they are; domains to search are the workload's own matter, and the host's are not
    // the workload's.
    log.lock().unwrap().clear();
    assert_eq!(
        asked(&inside, "ups-web.own.example", false),
        Some((NAME_ERROR, false, 0))
    );
    assert_eq!(*log.lock().unwrap(), ["ups-web.own.example"]);
    let file = driver.stage.exec("ups-web", "cat /etc/resolv.conf");
    assert!(
        file.contains("own.example") && !file.contains("lab.example"),
        "{file}"
    );
    driver.stage.exec("ups-web", "ping -c 1 -W 2 ups-web");
    // Names of its network never leave the host.
    assert!(!log.lock().unwrap().contains(&"ups-web".to_owned()));
    // Without the upstream, its own names are still there.
    world.ip(&["link", "set", "eth0", "down"]);
    assert_eq!(asked(&inside, "ups-web", false), Some((0, false, 1)));
}
