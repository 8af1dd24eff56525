//! The agent as a process.

use std::os::unix::net::UnixDatagram;

use integration::lab::{Family, Underlay, eventually_some, patience, uninterrupted};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Agent, QUICK, fleet};

#[test]
fn it_tells_systemd_and_there_is_one_at_a_time() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &["alpha"], &[]) else {
        return;
    };
    let fleet = fleet(&underlay);
    let alpha = fleet.on("alpha");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(patience())).unwrap();
    let hear = || {
        let mut buffer = [0; 64];
        let len = uninterrupted(|| systemd.recv(&mut buffer)).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    let path = path.to_str().unwrap();
    let agent = Agent::start_with(alpha, &QUICK, &[("NOTIFY_SOCKET", path)]);
    eventually_some("it is ready", || (hear() == "READY=1").then_some(()));
    eventually_some("it works", || (hear() == "WATCHDOG=1").then_some(()));

    let second = alpha.run(&["agent"]);
    assert_eq!(second.status.code(), Some(1), "{second}");
    let says = format!("runs already (pid {})", agent.pid());
    assert!(second.stderr.contains(&says), "{second}");

    assert!(agent.stop(Signal::INT).success());
    eventually_some("it says that it ends", || {
        (hear() == "STOPPING=1").then_some(())
    });
    // Nothing was loaded, and nothing is recorded.
    assert!(!alpha.instance().state_dir().exists());
}
