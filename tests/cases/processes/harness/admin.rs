//! The admin door of a node, over HTTP: who is a member, who leads which slot.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Slots of the key space.
pub(crate) const SLOTS: usize = 16384;

/// How long the admin door may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The admin door at one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin(pub(crate) SocketAddr);

impl Admin {
    /// Status and body of `GET path`; why not, if nobody answers.
    pub(crate) fn get(self, path: &str) -> Result<(u16, String), String> {
        self.request("GET", path)
    }

    pub(crate) fn post(self, path: &str) -> Result<(u16, String), String> {
        self.request("POST", path)
    }

    /// Succeeds if `/readyz` says 200.
    pub(crate) fn ready(self) -> Result<(), String> {
        match self.get("/readyz")? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("/readyz says {status}: {}", body.trim())),
        }
    }

    /// State of every member that this node knows, by name.
    pub(crate) fn members(self) -> Result<BTreeMap<String, String>, String> {
        let members = self.json("/v1/cluster/members", "members")?;
        let state = |member: &Value| {
            let name = member["name"].as_str()?.to_owned();
            Some((name, member["state"].as_str()?.to_lowercase()))
        };
        let states: Option<Vec<_>> = members.iter().map(state).collect();
        let states = states.ok_or_else(|| format!("a member lacks name or state: {members:?}"))?;
        let count = states.len();
        let states: BTreeMap<_, _> = states.into_iter().collect();
        if states.len() < count {
            return Err(format!("a name stands twice: {members:?}"));
        }
        Ok(states)
    }

    /// Leader of every slot by name, as this node knows it.
    pub(crate) fn leaders(self) -> Result<Vec<String>, String> {
        leaders(&self.json("/v1/cluster/slots", "slots")?)
    }

    /// Who should lead every slot, by name, as this node places them on the ring.
    pub(crate) fn wished(self) -> Result<Vec<String>, String> {
        let mut ranges = self.json("/v1/cluster/ring", "ranges")?;
        for range in &mut ranges {
            range["leader"] = range["owners"][0].clone();
        }
        leaders(&ranges)
    }

    fn json(self, path: &str, field: &str) -> Result<Vec<Value>, String> {
        let (status, body) = self.get(path)?;
        let value: Value = serde_json::from_str(&body)
            .map_err(|error| format!("{path} answers {status}, not JSON: {error}: {body}"))?;
        let list = if value.is_array() { &value } else { &value[field] };
        list.as_array().cloned().ok_or_else(|| format!("{path} has no list {field}: {body}"))
    }

    fn request(self, method: &str, path: &str) -> Result<(u16, String), String> {
        let text = self.exchange(method, path).map_err(|error| format!("{}: {error}", self.0))?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| format!("no status in {head:?}"))?, body.to_owned()))
    }

    fn exchange(self, method: &str, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.0, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        // HTTP/1.0: the body ends with the connection and is never cut into chunks.
        let host = self.0;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Leader by slot out of ranges; every slot must be there exactly once.
fn leaders(ranges: &[Value]) -> Result<Vec<String>, String> {
    let mut leaders = vec![None; SLOTS];
    for range in ranges {
        let bound = |field: &str| range[field].as_u64().map(|slot| slot as usize);
        let (Some(first), Some(last)) = (bound("first"), bound("last")) else {
            return Err(format!("a range lacks first or last: {range}"));
        };
        let leader = range["leader"].as_str();
        let leader = leader.ok_or_else(|| format!("slots {first}-{last} have no leader"))?;
        let slots = leaders.get_mut(first..=last).ok_or_else(|| format!("no range: {range}"))?;
        for (slot, entry) in (first..).zip(slots) {
            if entry.replace(leader.to_owned()).is_some() {
                return Err(format!("slot {slot} stands twice"));
            }
        }
    }
    let missing = leaders.iter().position(Option::is_none);
    missing.map_or_else(
        || Ok(leaders.into_iter().flatten().collect()),
        |slot| Err(format!("slot {slot} is missing")),
    )
}

#[test]
fn leaders_are_read_from_ranges() {
    let ranges: Vec<Value> = serde_json::from_str(
        r#"[{"first":0,"last":9,"leader":"a"},{"first":10,"last":16383,"leader":"b"}]"#,
    )
    .unwrap();
    let found = leaders(&ranges).unwrap();
    assert_eq!((found.len(), found[9].as_str(), found[10].as_str()), (SLOTS, "a", "b"));
    assert_eq!(leaders(&ranges[..1]), Err("slot 10 is missing".to_owned()));
    assert_eq!(leaders(&[ranges[0].clone(), ranges[0].clone()]), Err("slot 0 stands twice".into()));
}
