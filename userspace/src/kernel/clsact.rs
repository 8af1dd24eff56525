//! Filters of the `clsact` qdisc, the way of attaching before Linux 6.6: what aya does not offer of
//! it. The messages are netlink's own, over a socket that blocks, because the rest of the datapath's
//! edge does not wait for anything either.

use std::io;

use anyhow::{Context, Result};
use maps_schema::IfIndex;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

const QDISC: &str = "clsact";

/// A BPF filter at the ingress of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    pub(super) priority: u16,
    pub(super) handle: u32,
    /// The id of its program.
    pub(super) program: u32,
}

/// Sends one request and collects the answers.
pub(super) fn request(
    message: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | flags;
    packet.header.sequence_number = 1;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            // Messages are aligned to four bytes; the last one of a datagram need not be.
            let len = (answer.header.length as usize).next_multiple_of(4);
            rest = rest.get(len..).unwrap_or_default();
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) => return Ok(answers),
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
        }
    }
}

fn index(ifindex: IfIndex) -> Result<i32> {
    i32::try_from(ifindex.0).context("an interface index is a positive number")
}

/// The filters at one side of an interface's `clsact`; none if it has no such qdisc.
fn filters(ifindex: IfIndex, side: u16) -> Result<Vec<TcMessage>> {
    let mut question = TcMessage::with_index(index(ifindex)?);
    question.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: side,
    };
    let answers = match request(RouteNetlinkMessage::GetTrafficFilter(question), NLM_F_DUMP) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        answers => answers.context("list traffic filters")?,
    };
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(message) => Some(message),
            _ => None,
        })
        .collect())
}

/// No such interface, qdisc or filter: what the kernel says differs between versions.
fn is_absent(error: &io::Error) -> bool {
    [Errno::NODEV, Errno::NOENT, Errno::INVAL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The BPF filters at the ingress of an interface.
pub(super) fn ingress(ifindex: IfIndex) -> Result<Vec<Filter>> {
    let messages = filters(ifindex, TcHandle::MIN_INGRESS)?;
    Ok(messages.iter().filter_map(bpf_filter).collect())
}

fn bpf_filter(message: &TcMessage) -> Option<Filter> {
    let program = message.attributes.iter().find_map(|attribute| {
        let TcAttribute::Options(options) = attribute else {
            return None;
        };
        options.iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
            _ => None,
        })
    })?;
    Some(Filter {
        priority: u16::try_from(message.header.info >> 16).ok()?,
        handle: message.header.handle.into(),
        program,
    })
}

/// Removes the interface's `clsact` if nobody has a filter in it.
pub(super) fn remove_if_empty(ifindex: IfIndex) -> Result<()> {
    for side in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
        if !filters(ifindex, side)?.is_empty() {
            return Ok(());
        }
    }
    let mut message = TcMessage::with_index(index(ifindex)?);
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind(QDISC.to_owned()));
    match request(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_ACK) {
        Err(error) if !is_absent(&error) => Err(error).context("remove the clsact qdisc"),
        _ => Ok(()),
    }
}
