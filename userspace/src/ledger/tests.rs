//! The record as later processes find it.

use super::*;

const NOW: Duration = Duration::ZERO;

fn ledger(root: &Path) -> Ledger {
    Ledger::new(&Instance::new(Some("test")).unwrap().with_state_root(root))
}

fn source(text: &str) -> Source {
    Source {
        path: "shop.yaml".to_owned(),
        loaded: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        text: text.to_owned(),
    }
}

#[test]
fn what_is_put_is_there_until_it_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let ledger = ledger(root.path());
    assert!(ledger.sources().unwrap().is_empty());
    let locked = ledger.lock(NOW).unwrap();
    locked.put("shop", &source("one")).unwrap();
    locked.put("shop.v2", &source("two")).unwrap();
    locked.put("shop", &source("three")).unwrap();
    let expected = BTreeMap::from([
        ("shop".to_owned(), source("three")),
        ("shop.v2".to_owned(), source("two")),
    ]);
    assert_eq!(ledger.sources().unwrap(), expected);
    locked.remove("shop.v2").unwrap();
    locked.remove("never-there").unwrap();
    assert_eq!(ledger.sources().unwrap().len(), 1);
    locked.remove("shop").unwrap();
    locked.remove_if_empty().unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn the_stamp_changes_with_the_record() {
    let root = tempfile::tempdir().unwrap();
    let ledger = ledger(root.path());
    let mut stamps = vec![ledger.stamp()];
    let mut expect_another = || {
        let stamp = ledger.stamp();
        let is_new = stamps.last() != Some(&stamp);
        stamps.push(stamp);
        // File systems stamp what changes by a coarse clock.
        thread::sleep(Duration::from_millis(20));
        is_new
    };
    let locked = ledger.lock(NOW).unwrap();
    locked.put("shop", &source("one")).unwrap();
    assert!(expect_another());
    assert!(!expect_another());
    locked.put("shop", &source("two")).unwrap();
    assert!(expect_another());
    locked.put_host(Some("alpha")).unwrap();
    assert!(expect_another());
    locked.remove("shop").unwrap();
    assert!(expect_another());
    locked.remove_if_empty().unwrap();
    assert!(expect_another());
}

#[test]
fn the_name_that_the_host_was_given_is_kept_as_long_as_a_source() {
    let root = tempfile::tempdir().unwrap();
    let ledger = ledger(root.path());
    assert_eq!(ledger.host().unwrap(), None);
    let locked = ledger.lock(NOW).unwrap();
    locked.put("shop", &source("one")).unwrap();
    for name in ["alpha", "beta"] {
        locked.put_host(Some(name)).unwrap();
        assert_eq!(ledger.host().unwrap().as_deref(), Some(name));
    }
    locked.put_host(None).unwrap();
    locked.put_host(None).unwrap();
    assert_eq!(ledger.host().unwrap(), None);
    locked.put_host(Some("alpha")).unwrap();
    locked.remove("shop").unwrap();
    locked.remove_if_empty().unwrap();
    assert_eq!(ledger.host().unwrap(), None);
}

#[test]
fn a_crash_leaves_the_old_state_or_the_new_one() {
    let root = tempfile::tempdir().unwrap();
    let ledger = ledger(root.path());
    let locked = ledger.lock(NOW).unwrap();
    locked.put("shop", &source("old")).unwrap();
    let dir = ledger.sources_dir();
    // In the middle of writing either file: only the unfinished one is touched.
    fs::write(dir.join("shop.unfinished"), "torn").unwrap();
    assert_eq!(ledger.sources().unwrap()["shop"].text, "old");
    // Between the note and the text of a new source.
    fs::write(dir.join("new.json"), "{}").unwrap();
    assert_eq!(ledger.sources().unwrap().len(), 1);
    // Between the text and the note of a removed source, or a note that cannot be read.
    fs::write(dir.join("shop.json"), "{").unwrap();
    assert_eq!(ledger.sources().unwrap()["shop"].text, "old");
    fs::remove_file(dir.join("shop.json")).unwrap();
    assert_eq!(ledger.sources().unwrap()["shop"].path, "");
    // The next change cleans up.
    locked.put("shop", &source("new")).unwrap();
    assert_eq!(ledger.sources().unwrap()["shop"], source("new"));
    assert!(!dir.join("shop.unfinished").exists());
}

#[test]
fn one_changes_at_a_time_and_the_other_learns_who() {
    let root = tempfile::tempdir().unwrap();
    let ledger = ledger(root.path());
    let locked = ledger.lock(NOW).unwrap();
    let busy = ledger.lock(Duration::from_millis(30)).unwrap_err();
    let expected = format!(
        "another bowline (pid {}) is changing instance test; try again when it has finished",
        std::process::id()
    );
    assert_eq!(busy.to_string(), expected);
    drop(locked);
    ledger.lock(NOW).unwrap();
}

#[test]
fn waiting_gets_the_lock_after_the_state_was_removed() {
    let root = tempfile::tempdir().unwrap();
    let ledger = ledger(root.path());
    let locked = ledger.lock(NOW).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| ledger.lock(Duration::from_secs(10)));
        thread::sleep(Duration::from_millis(50));
        locked.remove_if_empty().unwrap();
        let locked = waiting.join().unwrap().unwrap();
        locked.put("shop", &source("text")).unwrap();
        assert!(ledger.lock(NOW).is_err());
    });
}

#[test]
fn a_name_never_leaves_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let locked = ledger(root.path()).lock(NOW).unwrap();
    for name in ["", "..", ".x", "a/b", "../x", &"x".repeat(65)] {
        assert!(locked.put(name, &source("text")).is_err(), "{name}");
        assert!(locked.remove(name).is_err(), "{name}");
    }
}
