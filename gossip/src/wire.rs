//! Messages to and from Cap'n Proto, packed: most of an update is zeros and pointers, and packing
//! lets twice as many into a datagram.

use std::net::{IpAddr, SocketAddr};

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::serialize_packed;
use piccolo_schema::gossip_capnp as wire;
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::peer_capnp::id;
use piccolo_schema::time::Moment;

use crate::TextFault;
use crate::member::{Member, State, check_name, check_zone, is_reachable};
use crate::message::{Ballot, Body, Join, Message, Refusal};
use crate::reject::Malformed;
use crate::table::RANGES;

/// Updates in one datagram at most: more than 1400 bytes can hold of the shortest.
const UPDATES_MAX: u32 = 64;

/// Words of a message without updates: digests of ranges are the longest.
const SEGMENT_WORDS: u32 = 96;

/// Words of an update as it usually is.
const UPDATE_WORDS: u32 = 40;

/// Accusers of one suspect at most; more confirm nothing.
pub(crate) const ACCUSERS_MAX: u32 = 8;

/// Words that reading one datagram may touch: packed zeros expand up to a thousandfold, and
/// nothing honest needs as much.
const WORDS_MAX: usize = 8 << 10;

/// Encodes a message with as many of its updates, in order, as fit into `bytes_max`, and says how
/// many those are.
pub(crate) fn encode_fitting(message: &Message, bytes_max: usize) -> (Vec<u8>, usize) {
    let mut count = message.updates.len().min(UPDATES_MAX as usize);
    loop {
        let datagram = encode(message, count);
        if datagram.len() <= bytes_max || count == 0 {
            return (datagram, count);
        }
        count = (count * bytes_max / datagram.len()).min(count - 1);
    }
}

fn encode(message: &Message, count: usize) -> Vec<u8> {
    // The default first segment is 8 KiB of zeros, and most datagrams take a tenth of it.
    let words = SEGMENT_WORDS + count as u32 * UPDATE_WORDS;
    let mut builder = Builder::new(HeapAllocator::new().first_segment_words(words));
    let mut datagram = builder.init_root::<wire::datagram::Builder<'_>>();
    write_id(datagram.reborrow().init_cluster(), message.cluster.0);
    write_id(datagram.reborrow().init_from(), message.from.0);
    datagram.set_from_name(message.from_name.as_str());
    write_id(datagram.reborrow().init_to(), message.to.0);
    write_body(datagram.reborrow(), &message.body);
    let mut updates = datagram.init_updates(count as u32);
    for (index, member) in message.updates.iter().take(count).enumerate() {
        write_member(updates.reborrow().get(index as u32), member);
    }
    let mut bytes = Vec::with_capacity(512);
    if let Err(error) = serialize_packed::write_message(&mut bytes, &builder) {
        unreachable!("writing into memory failed: {error}");
    }
    bytes
}

fn write_body(mut to: wire::datagram::Builder<'_>, body: &Body) {
    match *body {
        Body::Ping(sequence) => to.set_ping(sequence),
        Body::Ack { sequence, by } => {
            let mut ack = to.init_ack();
            ack.set_sequence(sequence);
            write_id(ack.init_by(), by.0);
        }
        Body::Nack(sequence) => to.set_nack(sequence),
        Body::PingRequest { sequence, target, address } => {
            let mut request = to.init_ping_request();
            request.set_sequence(sequence);
            write_id(request.reborrow().init_target(), target.0);
            write_address(request.init_address(), address);
        }
        Body::Join(join) => write_join(to.init_join(), &join),
        Body::Welcome => to.set_welcome(()),
        Body::Refuse(Refusal::NameTaken(by)) => {
            write_address(to.init_refuse().init_name_taken(), by);
        }
        Body::Refuse(Refusal::Stale(generation)) => to.init_refuse().set_stale(generation),
        Body::Refuse(Refusal::Version((oldest, newest))) => {
            let mut versions = to.init_refuse().init_version();
            versions.set_oldest(oldest);
            versions.set_newest(newest);
        }
        Body::Refuse(Refusal::Full(members)) => to.init_refuse().set_full(members),
        Body::Gossip => to.set_gossip(()),
        Body::Mismatch => to.set_mismatch(()),
        Body::Digest(digest) => to.set_digest(digest),
        Body::Ranges { ref digests, answer } => {
            let mut ranges = to.init_ranges();
            ranges.set_answer(answer);
            let mut list = ranges.init_digests(digests.len() as u32);
            for (index, digest) in digests.iter().enumerate() {
                list.set(index as u32, *digest);
            }
        }
        Body::Table => to.set_table(()),
        Body::Heartbeat { sent, asks } => {
            let mut heartbeat = to.init_heartbeat();
            heartbeat.set_sent(sent.0);
            heartbeat.set_asks(asks);
        }
        Body::Support { sent, epoch } => {
            let mut support = to.init_support();
            support.set_sent(sent.0);
            support.set_epoch(epoch);
        }
        Body::Claimed(heard) => to.set_claimed(heard),
    }
}

fn write_join(mut to: wire::join::Builder<'_>, join: &Join) {
    to.set_expect(join.expect);
    to.set_answer(join.answer);
    write_ballot(to.reborrow().init_promised(), join.promised);
    if let Some((ballot, cluster)) = join.accepted {
        write_ballot(to.reborrow().init_accepted(), ballot);
        write_id(to.reborrow().init_cluster(), cluster.0);
    }
    if let Some(cluster) = join.proposed {
        write_id(to.reborrow().init_proposed(), cluster.0);
    }
    if join.wanted.is_some() {
        write_id(to.init_wanted(), join.wanted.0);
    }
}

fn write_ballot(mut to: wire::ballot::Builder<'_>, ballot: Ballot) {
    to.set_round(ballot.round);
    write_id(to.init_node(), ballot.node.0);
}

fn write_member(mut to: wire::update::Builder<'_>, member: &Member) {
    to.set_name(member.name.as_str());
    write_id(to.reborrow().init_id(), member.id.0);
    to.set_generation(member.generation);
    to.set_incarnation(member.incarnation);
    to.set_state(write_state(member.state));
    to.set_said(write_state(member.said));
    write_address(to.reborrow().init_peer(), member.peer);
    write_address(to.reborrow().init_client(), member.client);
    write_address(to.reborrow().init_cluster_client(), member.cluster_client);
    write_address(to.reborrow().init_admin(), member.admin);
    to.set_zone(member.zone.as_str());
    to.set_weight(member.weight);
    to.set_shards(member.shards);
    to.set_protocol_min(member.protocol.0);
    to.set_protocol_max(member.protocol.1);
    to.set_features(member.features);
    let mut accusers = to.init_accusers(member.accusers.len() as u32);
    for (index, accuser) in member.accusers.iter().enumerate() {
        write_id(accusers.reborrow().get(index as u32), accuser.0);
    }
}

fn write_state(state: State) -> wire::State {
    match state {
        State::Joining => wire::State::Joining,
        State::Alive => wire::State::Alive,
        State::Leaving => wire::State::Leaving,
        State::Suspect => wire::State::Suspect,
        State::Dead => wire::State::Dead,
        State::Left => wire::State::Left,
    }
}

fn write_address(mut to: wire::address::Builder<'_>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => to.set_ip(&ip.octets()),
        IpAddr::V6(ip) => to.set_ip(&ip.octets()),
    }
    to.set_port(address.port());
}

fn write_id(mut to: id::Builder<'_>, id: u128) {
    to.set_high((id >> 64) as u64);
    to.set_low(id as u64);
}

/// Takes one datagram apart. Nothing of a malformed one is used.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn decode(mut datagram: &[u8]) -> Result<Message, Malformed> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(WORDS_MAX)).nesting_limit(8);
    let reader = serialize_packed::read_message(&mut datagram, options)?;
    if !datagram.is_empty() {
        return Err(Malformed::Encoding);
    }
    let message = reader.get_root::<wire::datagram::Reader<'_>>()?;
    let from = NodeId(read_id(message.get_from()?));
    if !from.is_some() {
        return Err(Malformed::NoId);
    }
    Ok(Message {
        cluster: ClusterId(read_id(message.get_cluster()?)),
        from,
        from_name: read_name(message.get_from_name()?)?,
        to: NodeId(read_id(message.get_to()?)),
        updates: read_updates(message)?,
        body: read_body(message)?,
    })
}

fn read_body(message: wire::datagram::Reader<'_>) -> Result<Body, Malformed> {
    use wire::datagram::Which;
    Ok(match message.which()? {
        Which::Ping(sequence) => Body::Ping(sequence),
        Which::Ack(ack) => {
            let ack = ack?;
            Body::Ack { sequence: ack.get_sequence(), by: NodeId(read_id(ack.get_by()?)) }
        }
        Which::Nack(sequence) => Body::Nack(sequence),
        Which::PingRequest(request) => {
            let request = request?;
            Body::PingRequest {
                sequence: request.get_sequence(),
                target: NodeId(read_id(request.get_target()?)),
                address: read_peer(request.get_address()?)?,
            }
        }
        Which::Join(join) => Body::Join(read_join(join?)?),
        Which::Welcome(()) => Body::Welcome,
        Which::Refuse(refuse) => Body::Refuse(match refuse?.which()? {
            wire::refuse::NameTaken(by) => Refusal::NameTaken(read_peer(by?)?),
            wire::refuse::Stale(generation) => Refusal::Stale(generation),
            wire::refuse::Version(versions) => {
                let versions = versions?;
                Refusal::Version((versions.get_oldest(), versions.get_newest()))
            }
            wire::refuse::Full(members) => Refusal::Full(members),
        }),
        Which::Gossip(()) => Body::Gossip,
        Which::Mismatch(()) => Body::Mismatch,
        Which::Digest(digest) => Body::Digest(digest),
        Which::Ranges(ranges) => read_ranges(ranges?)?,
        Which::Table(()) => Body::Table,
        Which::Heartbeat(heartbeat) => {
            let heartbeat = heartbeat?;
            Body::Heartbeat { sent: Moment(heartbeat.get_sent()), asks: heartbeat.get_asks() }
        }
        Which::Support(support) => {
            let support = support?;
            Body::Support { sent: Moment(support.get_sent()), epoch: support.get_epoch() }
        }
        Which::Claimed(heard) => Body::Claimed(heard),
    })
}

fn read_ranges(ranges: wire::ranges::Reader<'_>) -> Result<Body, Malformed> {
    let list = ranges.get_digests()?;
    let mut digests = Box::new([0; RANGES]);
    if list.len() as usize != digests.len() {
        return Err(Malformed::Ranges { count: list.len() });
    }
    for (index, digest) in digests.iter_mut().enumerate() {
        *digest = list.get(index as u32);
    }
    Ok(Body::Ranges { digests, answer: ranges.get_answer() })
}

fn read_join(join: wire::join::Reader<'_>) -> Result<Join, Malformed> {
    let accepted = read_ballot(join.get_accepted()?)?;
    let cluster = ClusterId(read_id(join.get_cluster()?));
    let proposed = ClusterId(read_id(join.get_proposed()?));
    Ok(Join {
        expect: join.get_expect(),
        answer: join.get_answer(),
        promised: read_ballot(join.get_promised()?)?,
        accepted: (accepted.round > 0 && cluster.is_some()).then_some((accepted, cluster)),
        proposed: proposed.is_some().then_some(proposed),
        wanted: ClusterId(read_id(join.get_wanted()?)),
    })
}

fn read_ballot(ballot: wire::ballot::Reader<'_>) -> Result<Ballot, Malformed> {
    Ok(Ballot { round: ballot.get_round(), node: NodeId(read_id(ballot.get_node()?)) })
}

fn read_updates(message: wire::datagram::Reader<'_>) -> Result<Vec<Member>, Malformed> {
    let updates = message.get_updates()?;
    if updates.len() > UPDATES_MAX {
        return Err(Malformed::TooMany { count: updates.len() });
    }
    updates.iter().map(read_member).collect()
}

fn read_member(update: wire::update::Reader<'_>) -> Result<Member, Malformed> {
    let zone = update.get_zone()?.to_str().map_err(|_| TextFault::NotPrintable);
    let zone = zone.and_then(|zone| check_zone(zone).map(|()| zone.to_owned()));
    let member = Member {
        name: read_name(update.get_name()?)?,
        id: NodeId(read_id(update.get_id()?)),
        generation: update.get_generation(),
        incarnation: update.get_incarnation(),
        state: read_state(update.get_state()?),
        said: read_state(update.get_said()?),
        peer: read_peer(update.get_peer()?)?,
        client: read_address(update.get_client()?)?,
        cluster_client: read_address(update.get_cluster_client()?)?,
        admin: read_address(update.get_admin()?)?,
        zone: zone.map_err(|fault| Malformed::Text { what: "zone", fault })?,
        weight: update.get_weight(),
        shards: update.get_shards(),
        protocol: (update.get_protocol_min(), update.get_protocol_max()),
        features: update.get_features(),
        accusers: read_accusers(update)?,
        since: Moment::default(),
    };
    if !member.id.is_some() {
        return Err(Malformed::NoId);
    }
    if is_consistent(&member) { Ok(member) } else { Err(Malformed::Update) }
}

fn read_accusers(update: wire::update::Reader<'_>) -> Result<Vec<NodeId>, Malformed> {
    let accusers = update.get_accusers()?;
    if accusers.len() > ACCUSERS_MAX {
        return Err(Malformed::TooMany { count: accusers.len() });
    }
    Ok(accusers.iter().map(|accuser| NodeId(read_id(accuser))).collect())
}

/// Others may call a member suspect or dead, and remove it; any other state is its own word.
fn is_consistent(member: &Member) -> bool {
    let said = member.said < State::Suspect;
    match member.state {
        State::Suspect => said,
        State::Dead => said && member.accusers.is_empty(),
        State::Left => (said || member.said == State::Left) && member.accusers.is_empty(),
        state => member.said == state && member.accusers.is_empty(),
    }
}

fn read_state(state: wire::State) -> State {
    match state {
        wire::State::Joining => State::Joining,
        wire::State::Alive => State::Alive,
        wire::State::Leaving => State::Leaving,
        wire::State::Suspect => State::Suspect,
        wire::State::Dead => State::Dead,
        wire::State::Left => State::Left,
    }
}

fn read_name(name: capnp::text::Reader<'_>) -> Result<String, Malformed> {
    let name = name.to_str().map_err(|_| TextFault::NotPrintable);
    name.and_then(|name| check_name(name).map(|()| name.to_owned()))
        .map_err(|fault| Malformed::Text { what: "name", fault })
}

/// An address that we may be told to send to.
fn read_peer(address: wire::address::Reader<'_>) -> Result<SocketAddr, Malformed> {
    let address = read_address(address)?;
    if is_reachable(address) { Ok(address) } else { Err(Malformed::Update) }
}

fn read_address(address: wire::address::Reader<'_>) -> Result<SocketAddr, Malformed> {
    let ip = address.get_ip()?;
    let parsed = if let Ok(ip) = <[u8; 4]>::try_from(ip) {
        IpAddr::from(ip)
    } else if let Ok(ip) = <[u8; 16]>::try_from(ip) {
        IpAddr::from(ip)
    } else {
        return Err(Malformed::Address { bytes: ip.len() });
    };
    Ok(SocketAddr::new(parsed, address.get_port()))
}

fn read_id(id: id::Reader<'_>) -> u128 {
    (u128::from(id.get_high()) << 64) | u128::from(id.get_low())
}

impl From<capnp::Error> for Malformed {
    fn from(_: capnp::Error) -> Self {
        Self::Encoding
    }
}

impl From<capnp::NotInSchema> for Malformed {
    fn from(unknown: capnp::NotInSchema) -> Self {
        Self::Kind(unknown.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DATAGRAM_BYTES_MIN;
    use crate::member::tests::member;
    use crate::seal::SEAL_BYTES;
    use piccolo_schema::limits::{DATAGRAM_BYTES_MAX, NAME_BYTES_MAX};

    fn message(body: Body, updates: Vec<Member>) -> Message {
        let (cluster, from, to) = (ClusterId(u128::MAX - 1), NodeId(7 << 100), NodeId(3));
        Message { cluster, from, from_name: "node-1".to_owned(), to, updates, body }
    }

    /// As large as a claim can be: nothing of it packs.
    fn widest(number: usize) -> Member {
        let ip = [0x2fff_u16; 8];
        let address = SocketAddr::from((ip, 0xffff));
        Member {
            name: format!("{number:x<NAME_BYTES_MAX$}"),
            id: NodeId(u128::MAX),
            generation: u64::MAX,
            incarnation: u32::MAX,
            state: State::Suspect,
            said: State::Leaving,
            peer: address,
            client: address,
            cluster_client: address,
            admin: address,
            zone: "z".repeat(NAME_BYTES_MAX),
            weight: u16::MAX,
            shards: u16::MAX,
            protocol: (u16::MAX, u16::MAX),
            features: u64::MAX,
            accusers: vec![NodeId(u128::MAX); ACCUSERS_MAX as usize],
            since: Moment(0),
        }
    }

    fn bodies() -> Vec<Body> {
        let address = SocketAddr::from(([10, 1, 2, 3], 7380));
        let ballot = Ballot { round: 5, node: NodeId(9) };
        let join = Join {
            expect: 3,
            answer: true,
            promised: ballot,
            accepted: Some((ballot, ClusterId(8))),
            proposed: Some(ClusterId(4)),
            wanted: ClusterId(5),
        };
        vec![
            Body::Ping(u32::MAX),
            Body::Ack { sequence: 1, by: NodeId(u128::MAX) },
            Body::PingRequest { sequence: 2, target: NodeId(1), address },
            Body::Join(Join::default()),
            Body::Join(join),
            Body::Welcome,
            Body::Refuse(Refusal::NameTaken(address)),
            Body::Refuse(Refusal::Stale(u64::MAX)),
            Body::Gossip,
            Body::Mismatch,
            Body::Digest(u64::MAX),
            Body::Nack(u32::MAX),
            Body::Refuse(Refusal::Version((2, 3))),
            Body::Refuse(Refusal::Full(10_000)),
            Body::Table,
            Body::Heartbeat { sent: Moment(u64::MAX), asks: true },
            Body::Support { sent: Moment(1), epoch: u64::MAX },
            Body::Claimed(u32::MAX),
        ]
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for body in bodies() {
            let sent = message(body, vec![member("a", 1), widest(1)]);
            let (datagram, count) = encode_fitting(&sent, DATAGRAM_BYTES_MAX);
            assert_eq!((count, decode(&datagram)), (2, Ok(sent)));
        }
        let digests = Box::new([u64::MAX / 3; RANGES]);
        let sent = message(Body::Ranges { digests, answer: true }, Vec::new());
        let (datagram, _) = encode_fitting(&sent, DATAGRAM_BYTES_MIN);
        assert!(datagram.len() <= DATAGRAM_BYTES_MIN - SEAL_BYTES, "{}", datagram.len());
        assert_eq!(decode(&datagram), Ok(sent));
    }

    #[test]
    fn as_many_updates_as_fit_are_sent_and_the_widest_one_always_fits() {
        let usual: Vec<_> = (1..40).map(|id| member(&format!("node-{id}"), id)).collect();
        for (updates, at_least) in [(usual, 10), ((0..40).map(widest).collect(), 2)] {
            let sent = message(Body::Table, updates);
            let (datagram, count) = encode_fitting(&sent, DATAGRAM_BYTES_MAX);
            assert!(datagram.len() <= DATAGRAM_BYTES_MAX && count >= at_least, "only {count}");
            let received = decode(&datagram).unwrap();
            assert_eq!(received.updates, sent.updates[..count]);
        }
        for body in bodies() {
            let mut sent = message(body, vec![widest(1)]);
            sent.from_name = "n".repeat(NAME_BYTES_MAX);
            let (_, count) = encode_fitting(&sent, DATAGRAM_BYTES_MIN - SEAL_BYTES);
            assert_eq!(count, 1, "{:?} has no room for one claim", sent.body);
        }
    }

    #[test]
    fn claims_that_nobody_may_make_are_refused() {
        let nameless = Member { name: String::new(), ..member("a", 1) };
        let spaced = Member { zone: "a b".to_owned(), ..member("a", 1) };
        let nobody = Member { id: NodeId::NONE, ..member("a", 1) };
        let contrary = Member { said: State::Leaving, ..member("a", 1) };
        let nowhere = Member { peer: SocketAddr::from(([0, 0, 0, 0], 1)), ..member("a", 1) };
        for claim in [nameless, spaced, nobody, contrary, nowhere] {
            let (datagram, _) = encode_fitting(&message(Body::Gossip, vec![claim]), 1400);
            assert!(decode(&datagram).is_err());
        }
    }
}
