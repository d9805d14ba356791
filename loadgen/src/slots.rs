//! Which node leads which slot, as CLUSTER SLOTS and MOVED tell it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use piccolo_schema::key_slot::slot_of;

use crate::protocol::{Setup, array};

/// A leader for every slot.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// Every node that was ever named; places stay the same.
    nodes: Vec<SocketAddr>,
    /// For each slot the place of its leader.
    leaders: Vec<u16>,
}

impl Slots {
    /// Nodes of which the first stands for everything: no cluster, or one that needs no telling.
    pub(crate) fn of(nodes: Vec<SocketAddr>) -> Self {
        Self { nodes, leaders: vec![0; SLOTS] }
    }

    /// Asks the node at `address`.
    ///
    /// # Errors
    ///
    /// Says what the node answered instead, and what to do.
    pub(crate) fn ask(address: SocketAddr, setup: &Setup) -> Result<Self, String> {
        let mut slots = Self { nodes: Vec::new(), leaders: vec![0; SLOTS] };
        slots.refresh(address, setup)?;
        Ok(slots)
    }

    /// Asks the node at `address` again. Who is no longer named keeps its place.
    pub(crate) fn refresh(&mut self, address: SocketAddr, setup: &Setup) -> Result<(), String> {
        let reply = fetch(address, setup).map_err(|error| format!("{address}: {error}"))?;
        self.learn(&reply, address).map_err(|error| format!("CLUSTER SLOTS of {address}: {error}"))
    }

    pub(crate) fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// The place of the node that leads the slot of `key`.
    #[inline]
    pub(crate) fn leader_of(&self, key: &[u8]) -> usize {
        usize::from(self.leaders[usize::from(slot_of(key).number())])
    }

    /// Notes what a MOVED says, `SLOT HOST:PORT`; the place of the new leader.
    pub(crate) fn moved(&mut self, text: &[u8]) -> Option<usize> {
        let (slot, to) = str::from_utf8(text).ok()?.split_once(' ')?;
        let slot = slot.parse::<usize>().ok().filter(|slot| *slot < SLOTS)?;
        let address = to.trim().to_socket_addrs().ok()?.next()?;
        let place = self.place(address);
        self.leaders[slot] = place;
        Some(usize::from(place))
    }

    fn place(&mut self, address: SocketAddr) -> u16 {
        let known = self.nodes.iter().position(|node| *node == address);
        let place = known.unwrap_or_else(|| {
            self.nodes.push(address);
            self.nodes.len() - 1
        });
        place as u16
    }

    fn learn(&mut self, reply: &Value, asked: SocketAddr) -> Result<(), String> {
        let Value::Array(ranges) = reply else { return Err(format!("answered {reply:?}")) };
        let mut covered = 0;
        for range in ranges {
            let (first, last, leader) = range_of(range, asked).ok_or("a range is malformed")?;
            let place = self.place(leader);
            self.leaders[first..=last].fill(place);
            covered += last + 1 - first;
        }
        if covered < SLOTS {
            return Err(format!(
                "only {covered} of {SLOTS} slots have a leader: wait for the rest"
            ));
        }
        Ok(())
    }
}

/// Slots of a cluster (source: Redis Cluster specification).
const SLOTS: usize = 16384;

/// First slot, last slot and leader of one range.
fn range_of(range: &Value, asked: SocketAddr) -> Option<(usize, usize, SocketAddr)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Number(first), Value::Number(last), Value::Array(node), ..] = &parts[..] else {
        return None;
    };
    let [Value::Text(host), Value::Number(port), ..] = &node[..] else { return None };
    let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
    let port = u16::try_from(*port).ok()?;
    // An empty host stands for the one that was asked.
    let leader = if host.is_empty() {
        SocketAddr::new(asked.ip(), port)
    } else {
        (host.as_str(), port).to_socket_addrs().ok()?.next()?
    };
    (first <= last && last < SLOTS).then_some((first, last, leader))
}

/// Any reply, as far as CLUSTER SLOTS needs it.
#[derive(Debug, PartialEq)]
enum Value {
    Number(i64),
    Text(String),
    Array(Vec<Value>),
    Null,
}

fn fetch(address: SocketAddr, setup: &Setup) -> Result<Value, String> {
    let text = |error: std::io::Error| format!("{error}; is the target running there?");
    let mut stream = TcpStream::connect_timeout(&address, ASK_LIMIT).map_err(text)?;
    stream.set_read_timeout(Some(ASK_LIMIT)).map_err(text)?;
    let mut out = Vec::new();
    let mut skip = 0;
    if let Some(password) = &setup.password {
        array(&[b"AUTH", password.as_bytes()], &mut out);
        skip = 1;
    }
    array(&[b"CLUSTER", b"SLOTS"], &mut out);
    stream.write_all(&out).map_err(text)?;
    let mut input = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let bytes = stream.read(&mut piece).map_err(text)?;
        if bytes == 0 || input.len() > ASK_BYTES_MAX {
            return Err("the reply has no end".to_owned());
        }
        input.extend_from_slice(&piece[..bytes]);
        let mut rest = &input[..];
        let mut found = None;
        for _ in 0..=skip {
            found = parse(&mut rest, 0)?;
            if found.is_none() {
                break;
            }
        }
        if let Some(reply) = found {
            return Ok(reply);
        }
    }
}

/// How long a node may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of a reply to CLUSTER SLOTS at most.
const ASK_BYTES_MAX: usize = 16 << 20;
/// How deep arrays lie in arrays at most.
const DEPTH_MAX: u32 = 8;

/// Takes one value off the front of `rest`; nothing if it is not all there.
fn parse(rest: &mut &[u8], depth: u32) -> Result<Option<Value>, String> {
    let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = &rest[end + 2..];
    let number = || line.get(1..).and_then(|n| n.parse::<i64>().ok()).ok_or("no number");
    match line.as_bytes().first() {
        Some(b'+') => Ok(Some(Value::Text(line[1..].to_owned()))),
        Some(b':') => Ok(Some(Value::Number(number()?))),
        Some(b'_') => Ok(Some(Value::Null)),
        Some(b'-') => Err(format!("answered {:?}; use resp:// if it is no cluster", &line[1..])),
        Some(b'$' | b'*') if number()? < 0 => Ok(Some(Value::Null)),
        Some(b'$') => {
            let length = number()? as usize;
            let Some(text) = rest.get(..length) else { return Ok(None) };
            let Some(behind) = rest.get(length + 2..) else { return Ok(None) };
            let text = String::from_utf8_lossy(text).into_owned();
            *rest = behind;
            Ok(Some(Value::Text(text)))
        }
        Some(b'*') if depth < DEPTH_MAX => {
            let mut items = Vec::new();
            for _ in 0..number()? {
                let Some(item) = parse(rest, depth + 1)? else { return Ok(None) };
                items.push(item);
            }
            Ok(Some(Value::Array(items)))
        }
        _ => Err(format!("no reply of RESP: {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "*2 *4 :0 :8191 *3 $9 127.0.0.1 :7001 $1 a *3 $9 127.0.0.1 :7002 $1 b \
        *3 :8192 :16383 *4 $0  :7002 $1 b *0 ";

    fn learnt(text: &str) -> Result<Slots, String> {
        let bytes = text.replace(' ', "\r\n");
        let reply = parse(&mut bytes.as_bytes(), 0)?.ok_or("cut off")?;
        let mut slots = Slots { nodes: Vec::new(), leaders: vec![0; SLOTS] };
        slots.learn(&reply, "127.0.0.1:1".parse().unwrap()).map(|()| slots)
    }

    #[test]
    fn cluster_slots_name_a_leader_for_every_key() {
        let mut slots = learnt(REPLY).unwrap();
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(slots.nodes(), [address(7001), address(7002)]);
        // Slots 5061 and 12182.
        assert_eq!((slots.leader_of(b"bar"), slots.leader_of(b"foo")), (0, 1));
        assert_eq!(slots.moved(b"12182 127.0.0.1:7003"), Some(2));
        assert_eq!((slots.leader_of(b"foo"), slots.nodes()[2]), (2, address(7003)));
        assert_eq!(slots.moved(b"99999 127.0.0.1:7003"), None);
        assert_eq!(slots.moved(b"1"), None);
    }

    #[test]
    fn every_cut_of_the_reply_is_incomplete_and_gaps_are_named() {
        let bytes = REPLY.replace(' ', "\r\n");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&mut &bytes.as_bytes()[..cut], 0), Ok(None), "cut at {cut}");
        }
        let gap = learnt("*1 *3 :0 :8191 *2 $9 127.0.0.1 :1 ").unwrap_err();
        assert!(gap.contains("8192 of 16384"), "{gap}");
        let none = learnt("-ERR ");
        assert!(none.unwrap_err().contains("ERR"));
    }
}
