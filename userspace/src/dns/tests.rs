//! What a workload is answered.

use std::collections::BTreeSet;

use proptest::prelude::*;

use simple_dns::TYPE;

use super::*;
use crate::directory::Directory;
use crate::document::draft;
use crate::problem::listing::listing;
use crate::topology::compile_drafts;

const FILE: &str = "version: 1
name: shop
networks: { front: [10.1.0.0/24, 'fd00:1::/64'], back: 10.2.0.0/24 }
routers: { core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } } }
workloads:
  Web: { names: [www, api.internal], ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  two: { names: www, netns: two, ports: [{ network: front, addresses: 10.1.0.11 }] }
  db: { container: postgres, ports: [{ network: back, addresses: 10.2.0.20 }] }
  docker-0123456789ab: { endpoint: 0123456789abcdef, names: cache, ports: [{ network: back, addresses: 10.2.0.30 }] }
";

fn directory(text: &str) -> Directory {
    let topology = compile_drafts([draft("shop.yaml", text)]);
    Directory::of(&topology.unwrap_or_else(|problems| panic!("{}", listing(&problems))))
}

fn query(name: &str, qtype: TYPE) -> Vec<u8> {
    let mut query = Packet::new_query(7);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).unwrap();
    let question = Question::new(name, QTYPE::TYPE(qtype), QCLASS::CLASS(CLASS::IN), false);
    query.questions.push(question);
    query.build_bytes_vec().unwrap()
}

/// What a workload is answered, as text: the code, then the data.
fn ask(who: &str, name: &str, qtype: TYPE) -> String {
    let directory = directory(FILE);
    let who = BTreeSet::from([who.to_owned()]);
    match judge(
        &query(name, qtype),
        &directory.seen_by(&who),
        Transport::Udp,
    ) {
        Verdict::Answer(bytes) => {
            let reply = Packet::parse(&bytes).unwrap();
            assert_eq!(reply.id(), 7);
            assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
            let mut text = format!("{:?}", reply.rcode());
            for record in &reply.answers {
                assert_eq!(record.name.to_string(), name);
                text += " ";
                text += &match &record.rdata {
                    RData::A(a) => Ipv4Addr::from(a.address).to_string(),
                    RData::AAAA(aaaa) => Ipv6Addr::from(aaaa.address).to_string(),
                    RData::PTR(name) => name.to_string(),
                    other => format!("{other:?}"),
                };
            }
            text
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn names_of_the_own_networks_are_answered() {
    for (name, qtype, expected) in [
        ("web", TYPE::A, "NoError 10.1.0.10"),
        ("WEB.Front", TYPE::A, "NoError 10.1.0.10"),
        ("web", TYPE::AAAA, "NoError fd00:1::10"),
        ("www", TYPE::A, "NoError 10.1.0.11 10.1.0.10"),
        ("api.internal", TYPE::A, "NoError 10.1.0.10"),
        ("api.internal.front", TYPE::A, "NoError 10.1.0.10"),
        ("core", TYPE::A, "NoError 10.1.0.1"),
        // It is there, but not so.
        ("two", TYPE::AAAA, "NoError"),
        ("two", TYPE::TXT, "NoError"),
        ("10.0.1.10.in-addr.arpa", TYPE::PTR, "NoError web.front"),
        ("99.0.1.10.in-addr.arpa", TYPE::PTR, "NameError"),
        // Of networks that it is not on it hears as much as of the rest of the world.
        ("db", TYPE::A, "Forward"),
        ("web.back", TYPE::A, "Forward"),
        ("20.0.2.10.in-addr.arpa", TYPE::PTR, "Forward"),
        ("example.org", TYPE::A, "Forward"),
        ("webs", TYPE::A, "Forward"),
    ] {
        assert_eq!(ask("two", name, qtype), expected, "{name}");
    }
    let v6 = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(ask("two", v6, TYPE::PTR), "NoError web.front");
    for (name, expected) in [
        ("postgres", "NoError 10.2.0.20"),
        ("cache", "NoError 10.2.0.30"),
        ("docker-0123456789ab", "NoError 10.2.0.30"),
    ] {
        assert_eq!(ask("db", name, TYPE::A), expected);
    }
    assert_eq!(
        ask("db", "30.0.2.10.in-addr.arpa", TYPE::PTR),
        "NoError cache.back"
    );
    assert_eq!(ask("nobody", "web", TYPE::A), "Forward");
}

#[test]
fn each_address_of_a_name_is_the_first_one_in_turn() {
    let directory = directory(FILE);
    let who = BTreeSet::from(["two".to_owned()]);
    let firsts: BTreeSet<String> = (0..2)
        .map(|id| {
            let mut query = query("www", TYPE::A);
            query[1] = id;
            let answer = judge(&query, &directory.seen_by(&who), Transport::Udp);
            let Verdict::Answer(bytes) = answer else {
                panic!("{answer:?}")
            };
            let reply = Packet::parse(&bytes).unwrap();
            assert_eq!(reply.answers.len(), 2);
            format!("{:?}", reply.answers[0].rdata)
        })
        .collect();
    assert_eq!(firsts.len(), 2);
}

#[test]
fn an_answer_that_is_too_long_is_cut_short_unless_there_is_room() {
    let mut text =
        "version: 1\nname: many\nnetworks: { front: 10.1.0.0/24 }\nworkloads:\n".to_owned();
    for i in 10..90 {
        text += &format!(
            "  w{i}: {{ names: all, ports: [{{ network: front, addresses: 10.1.0.{i} }}] }}\n"
        );
    }
    let directory = directory(&text);
    let who = BTreeSet::from(["w10".to_owned()]);
    let view = directory.seen_by(&who);
    let query = query("all", TYPE::A);
    let answers = |transport, edns: Option<u16>| {
        let message = match edns {
            None => query.clone(),
            Some(size) => {
                let mut packet = Packet::parse(&query).unwrap();
                *packet.opt_mut() = Some(OPT {
                    opt_codes: Vec::new(),
                    udp_packet_size: size,
                    version: 0,
                });
                packet.build_bytes_vec().unwrap()
            }
        };
        let Verdict::Answer(bytes) = judge(&message, &view, transport) else {
            panic!("no answer");
        };
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!(reply.opt().is_some(), edns.is_some());
        (
            reply.has_flags(PacketFlag::TRUNCATION),
            reply.answers.len(),
            bytes.len(),
        )
    };
    let (is_cut, count, len) = answers(Transport::Udp, None);
    assert!(is_cut && count == 0 && len <= PLAIN_MAX);
    // 80 answers of 16 bytes each are more than what is sure not to be fragmented.
    assert!(answers(Transport::Udp, Some(4096)).0);
    let (is_cut, count, _) = answers(Transport::Tcp, None);
    assert!(!is_cut && count == 80);
}

#[test]
fn what_is_no_question_is_no_question() {
    let directory = directory(FILE);
    let who = BTreeSet::from(["two".to_owned()]);
    let view = directory.seen_by(&who);
    let code = |message: &[u8]| match judge(message, &view, Transport::Udp) {
        Verdict::Answer(bytes) => bytes[3] & 0xf,
        Verdict::Ignore => 100,
        Verdict::Forward => 101,
    };
    let good = query("web", TYPE::A);
    assert_eq!(code(&good), 0);
    assert_eq!(code(&good[..11]), 100);
    assert_eq!(code(&good[..14]), 1);
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(code(&response), 100);
    let mut status = good.clone();
    status[2] = 0x10;
    assert_eq!(code(&status), 4);
    let mut none = good.clone();
    none[5] = 0;
    none.truncate(12);
    assert_eq!(code(&none), 1);
}

proptest! {
    #[test]
    fn whatever_comes_is_judged(mut message in prop::collection::vec(any::<u8>(), 0..80), end in 0_usize..80) {
        let directory = directory(FILE);
        let who = BTreeSet::from(["two".to_owned()]);
        let mut messages = vec![message.clone()];
        let mut good = query("web", TYPE::A);
        good.truncate(end);
        good.append(&mut message);
        messages.push(good);
        for message in messages {
            let verdict = judge(&message, &directory.seen_by(&who), Transport::Udp);
            if let Verdict::Answer(answer) = verdict {
                prop_assert!(answer.len() >= HEADER_LEN && answer.len() <= usize::from(EDNS_MAX));
                prop_assert_eq!(&answer[..2], &message[..2]);
                prop_assert!(answer[2] & 0x80 != 0);
            }
        }
    }
}
