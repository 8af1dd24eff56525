//! DNS (RFC 1035) for workloads: questions about names of their networks are answered, all others are for
//! the host's own resolvers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, OPT, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord,
};

use crate::directory::View;

/// Where workloads find the resolver. RFC 3927 section 2.1 keeps this part of the link-local addresses
/// from hosts that choose one themselves, and clouds have what they offer in 169.254.169.0/24 and
/// 169.254.170.0/24.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 53);
/// The port, of UDP and of TCP.
pub const PORT: u16 = 53;
/// How long an answer may be remembered, in seconds: containers come and go.
const TTL: u32 = 5;
/// The longest answer in UDP for who says nothing else (RFC 1035 section 2.3.4), and for who does: more
/// might have to be fragmented.
const PLAIN_MAX: usize = 512;
const EDNS_MAX: u16 = 1232;
/// The length of a message's header.
const HEADER_LEN: usize = 12;

/// What becomes of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Somebody else knows.
    Forward,
    /// It is no question.
    Ignore,
}

/// How a question arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// An answer that is too long is cut short.
    Udp,
    /// There is room.
    Tcp,
}

/// Judges a message from somebody who sees `view`.
#[must_use]
pub fn judge(message: &[u8], view: &View<'_>, transport: Transport) -> Verdict {
    if message.len() < HEADER_LEN || message[2] & 0x80 != 0 {
        return Verdict::Ignore;
    }
    let Ok(query) = Packet::parse(message) else {
        return Verdict::Answer(failure(message, RCODE::FormatError));
    };
    if query.opcode() != OPCODE::StandardQuery {
        return Verdict::Answer(failure(message, RCODE::NotImplemented));
    }
    let [question] = query.questions.as_slice() else {
        return Verdict::Answer(failure(message, RCODE::FormatError));
    };
    if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
        return Verdict::Forward;
    }
    let name = question.qname.to_string().to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    let reply = if let Some(addresses) = view.addresses(name) {
        let data = addresses.into_iter().map(|address| match address {
            IpAddr::V4(v4) => RData::A(A { address: v4.into() }),
            IpAddr::V6(v6) => RData::AAAA(AAAA { address: v6.into() }),
        });
        reply(&query, question, RCODE::NoError, data.collect())
    } else if let Some(address) = reversed(name).filter(|it| view.owns(*it)) {
        match view.name(address) {
            Some(name) => match Name::new(&name) {
                Ok(name) => {
                    let data = vec![RData::PTR(PTR(name.into_owned()))];
                    reply(&query, question, RCODE::NoError, data)
                }
                Err(_) => return Verdict::Forward,
            },
            None => reply(&query, question, RCODE::NameError, Vec::new()),
        }
    } else {
        return Verdict::Forward;
    };
    let limit = match (transport, query.opt()) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => PLAIN_MAX,
        (Transport::Udp, Some(opt)) => {
            usize::from(opt.udp_packet_size.min(EDNS_MAX)).max(PLAIN_MAX)
        }
    };
    Verdict::Answer(written(reply, message, limit))
}

/// Whether an answer says that there is more by TCP.
#[must_use]
pub fn is_cut(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Whether a resolver says that it cannot answer, where another one may: it fails, does not know how, or does
/// not want to (RFC 1035 section 4.1.1).
#[must_use]
pub fn is_excuse(answer: &[u8]) -> bool {
    let excuses = [RCODE::ServerFailure, RCODE::NotImplemented, RCODE::Refused];
    answer.get(3).is_some_and(|flags| {
        let code = RCODE::from(u16::from(flags & 0xf));
        excuses.contains(&code)
    })
}

/// The answer that there is none, for whatever reason, to a message of which only the header and the
/// question have to be readable.
#[must_use]
pub fn failure(message: &[u8], reason: RCODE) -> Vec<u8> {
    let question = Packet::parse(message).ok();
    let question = question
        .as_ref()
        .and_then(|it| Some((it, it.questions.first()?)));
    if let Some((query, question)) = question
        && let Ok(bytes) = reply(query, question, reason, Vec::new()).build_bytes_vec()
    {
        return bytes;
    }
    let mut header = [0; HEADER_LEN];
    let len = message.len().min(3);
    header[..len].copy_from_slice(&message[..len]);
    // A response with the opcode and the recursion bit of the question.
    header[2] = (header[2] & 0x79) | 0x80;
    header[3] = 0x80 | (reason as u8 & 0xf);
    header.to_vec()
}

fn reply<'a>(
    query: &Packet<'a>,
    question: &Question<'a>,
    code: RCODE,
    data: Vec<RData<'a>>,
) -> Packet<'a> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *reply.opcode_mut() = query.opcode();
    *reply.rcode_mut() = code;
    reply.questions.push(question.clone());
    let mut wanted = data;
    wanted.retain(|data| match question.qtype {
        QTYPE::TYPE(wanted) => data.type_code() == wanted,
        QTYPE::ANY => true,
        _ => false,
    });
    // Most take the first address: each of a service's gets its turn (RFC 1794), by the number of the query,
    // which is random (RFC 5452 section 9.2).
    let turn = usize::from(query.id()) % wanted.len().max(1);
    wanted.rotate_left(turn);
    // The name as it was asked for, letter by letter.
    let name = &question.qname;
    let records = wanted
        .into_iter()
        .map(|data| ResourceRecord::new(name.clone(), CLASS::IN, TTL, data));
    reply.answers.extend(records);
    if query.opt().is_some() {
        *reply.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size: EDNS_MAX,
            version: 0,
        });
    }
    reply
}

/// The bytes of a reply; if it is too long, those that say so (RFC 2181 section 9).
fn written(mut reply: Packet<'_>, message: &[u8], limit: usize) -> Vec<u8> {
    match reply.build_bytes_vec_compressed() {
        Ok(bytes) if bytes.len() <= limit => bytes,
        Ok(_) => {
            reply.answers.clear();
            reply.set_flags(PacketFlag::TRUNCATION);
            let short = reply.build_bytes_vec_compressed();
            short.unwrap_or_else(|_| failure(message, RCODE::ServerFailure))
        }
        Err(_) => failure(message, RCODE::ServerFailure),
    }
}

/// The address that a name of `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035 section 3.5, RFC 3596
/// section 2.5).
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = labels
            .split('.')
            .rev()
            .map(|label| label.parse::<u8>().ok());
        let mut next = || octets.next().flatten();
        let address = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        return octets.next().is_none().then_some(address.into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let digits: String = labels.split('.').rev().collect();
    let is_whole = digits.len() == 32 && labels.len() == 63;
    let number = u128::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| is_whole)?;
    Some(Ipv6Addr::from(number).into())
}

#[cfg(test)]
mod tests;
