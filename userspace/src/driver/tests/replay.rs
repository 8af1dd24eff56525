//! Recorded requests. What the recording's own driver answered to them differs from what ours does, and
//! Docker goes on with the answers: so what refers to them is translated.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Stage;

const RECORDINGS: [(&str, &str); 5] = [
    ("t1", include_str!("recorded/t1.jsonl")),
    ("t2", include_str!("recorded/t2.jsonl")),
    ("t3", include_str!("recorded/t3.jsonl")),
    ("t4", include_str!("recorded/t4.jsonl")),
    ("t5", include_str!("recorded/t5.jsonl")),
];

/// What the recording calls things, and what ours are called.
#[derive(Default)]
struct Translation {
    pools: BTreeMap<String, String>,
    addresses: BTreeMap<String, String>,
}

impl Translation {
    fn request(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text == "probe-local" || text == "probe-global" => {
                "bowline".into()
            }
            Value::String(text) => {
                let bare = text.split('/').next().unwrap();
                match (self.pools.get(text), self.addresses.get(bare)) {
                    (Some(pool), _) => pool.clone().into(),
                    (None, Some(address)) => text.replacen(bare, address, 1).into(),
                    (None, None) => value.clone(),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.request(item)).collect(),
            Value::Object(map) => {
                let map = map.iter();
                // Options that the recording's driver took, and ours does not know.
                let map = map.filter(|(key, _)| !matches!(key.as_str(), "foo" | "ipamk" | "a"));
                map.map(|(key, item)| (key.clone(), self.request(item)))
                    .collect()
            }
            other => other.clone(),
        }
    }

    fn learn(&mut self, recorded: &Value, answer: &Value) {
        let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
        if let (Some(from), Some(to)) = (text(recorded, "PoolID"), text(answer, "PoolID")) {
            self.pools.insert(from, to);
        }
        for key in ["Address", "Pool"] {
            if let (Some(from), Some(to)) = (text(recorded, key), text(answer, key)) {
                let bare = |text: String| text.split('/').next().unwrap().to_owned();
                self.addresses.insert(bare(from), bare(to));
            }
        }
    }
}

/// What was there before the recording began.
fn make_up(stage: &mut Stage, translation: &mut Translation, method: &str, request: &Value) {
    if let Some(recorded) = request["PoolID"].as_str()
        && !translation.pools.contains_key(recorded)
        && let Some(subnet) = recorded.strip_prefix("probe-local/")
    {
        let body = json!({ "AddressSpace": "bowline", "Pool": subnet });
        let pool = stage.ask("IpamDriver.RequestPool", &body).unwrap();
        translation.learn(&json!({ "PoolID": recorded }), &pool);
    }
    if let Some(id) = request["NetworkID"].as_str()
        && method == "NetworkDriver.CreateEndpoint"
        && !stage.records.networks.contains_key(id)
    {
        let interface = &request["Interface"];
        let address = interface["Address"]
            .as_str()
            .filter(|text| !text.is_empty());
        let data = address.map(|address| {
            let subnet: ipnet::IpNet = address.parse().unwrap();
            json!({ "AddressSpace": "bowline", "Pool": subnet.trunc().to_string() })
        });
        let body = json!({ "NetworkID": id, "Options": {}, "IPv4Data": data.into_iter().collect::<Vec<_>>() });
        stage.ask("NetworkDriver.CreateNetwork", &body).unwrap();
    }
}

fn is_replay(note: &str, method: &str) -> bool {
    note.contains("live-restore") && method == "IpamDriver.RequestAddress"
}

#[test]
fn every_recorded_request_is_understood() {
    let mut count = 0;
    for (name, text) in RECORDINGS {
        let mut stage = Stage::empty();
        let mut translation = Translation::default();
        let mut note = String::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Some(text) = line["note"].as_str() {
                note = text.to_owned();
                continue;
            }
            count += 1;
            let method = line["path"].as_str().unwrap();
            make_up(&mut stage, &mut translation, method, &line["request"]);
            let request = translation.request(&line["request"]);
            let before = stage.records.clone();
            let answer = stage.ask(method, &request);
            let recorded = &line["answer"];
            let was_refused = !recorded["Err"].is_null() || line["code"] != 200;
            match answer {
                // Docker did not get this answer but another one, and goes on from there.
                _ if was_refused => stage.records = before,
                Ok(answer) => translation.learn(recorded, &answer),
                // That driver had asked for a replay, which ours does not: for us it is a request for an
                // address that somebody has.
                Err(refusal) if is_replay(&note, method) && refusal.contains("is taken") => {}
                // It published at `[::1]` what has no IPv6 address.
                Err(refusal) if refusal.contains("has no IPv6 address") => {}
                Err(refusal) => panic!("{name}, {note}: {method} {request}: {refusal}"),
            }
        }
        stage.topology();
    }
    assert!(count > 300, "{count}");
}

#[test]
fn the_first_recording_leaves_nothing() {
    let mut stage = Stage::empty();
    let mut translation = Translation::default();
    for line in RECORDINGS[0].1.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(method) = line["path"].as_str() else {
            continue;
        };
        let request = translation.request(&line["request"]);
        let answer = stage.ask(method, &request).unwrap();
        translation.learn(&line["answer"], &answer);
        if method == "NetworkDriver.Join" {
            assert!(answer["InterfaceName"]["SrcName"].as_str().unwrap().len() <= 15);
        }
    }
    assert!(stage.records.is_empty());
    assert!(stage.records.leases.is_empty());
}
