//! Which path answers what. No I/O: a request's head and a status go in, a reply comes out.

use hyper::body::Body;
use hyper::header::ORIGIN;
use hyper::{Method, Request, StatusCode};
use piccolo_schema::key_slot::slot_of;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::discovery;
use super::metrics::Metrics;
use super::reply::{Reply, json, method_not_allowed, problem};
use super::requests::{AdminRequest, Requests};
use super::status::{MemberState, RangeStatus, Status};

/// Bytes of a request's body at most. No path takes one; this much is let pass unread.
pub const BODY_BYTES_MAX: u64 = 1 << 10;

/// What `GET /v1/cluster/ring` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingReply {
    /// Equal for nodes that agree on the ring.
    pub digest: String,
    /// Who should own which slots.
    pub ranges: Vec<RangeStatus>,
}

/// What `GET /v1/cluster/ring/locate` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocateReply {
    /// The key; what is not UTF-8 in it is shown as U+FFFD.
    pub key: String,
    /// Its slot.
    pub slot: u16,
    /// Name of the node that should lead the slot.
    pub desired: Option<String>,
    /// Name of the node that does.
    pub leader: Option<String>,
    /// Address of the leader for Redis clients.
    pub client: Option<String>,
}

/// Answers one request.
pub fn answer(
    request: &Request<impl Body>,
    status: &Status,
    requests: &Requests,
    metrics: &Metrics,
) -> Reply {
    if request.body().size_hint().upper().is_none_or(|bytes| bytes > BODY_BYTES_MAX) {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "no path here takes a body: send none");
    }
    if let Some(reply) = change(request, status, requests) {
        return reply;
    }
    let Some(reply) = show(request.uri().path(), request.uri().query(), status, metrics) else {
        let detail = format!("no such path: {}", request.uri().path());
        return problem(StatusCode::NOT_FOUND, &detail);
    };
    match *request.method() {
        Method::GET | Method::HEAD => reply,
        _ => method_not_allowed("GET, HEAD"),
    }
}

/// Answers what changes something; `None` if the path is not one of those.
fn change(request: &Request<impl Body>, status: &Status, requests: &Requests) -> Option<Reply> {
    let path = request.uri().path();
    let member = path.strip_prefix("/v1/cluster/members/");
    let (method, command) = match member {
        Some(_) => ("DELETE", "piccolo remove"),
        None if path == "/v1/node/leave" => ("POST", "piccolo leave"),
        None => return None,
    };
    Some(if request.method().as_str() != method {
        method_not_allowed(method)
    } else if request.headers().contains_key(ORIGIN) {
        // A page in a browser on this machine could otherwise do so.
        let detail = format!("not from a page in a browser: use `{command}`");
        problem(StatusCode::FORBIDDEN, &detail)
    } else {
        match member {
            Some(encoded) => remove(encoded, request.uri().query(), status, requests),
            None => leave(status, requests),
        }
    })
}

/// Answers what only looks.
fn show(path: &str, query: Option<&str>, status: &Status, metrics: &Metrics) -> Option<Reply> {
    let ok = StatusCode::OK;
    Some(match path {
        "/livez" => json(ok, &json!({ "live": true })),
        "/readyz" => ready(status),
        "/version" => json(ok, &json!({ "name": "piccolo", "version": status.version })),
        "/metrics" => metrics.reply(),
        "/v1/cluster" => cluster(status),
        "/v1/cluster/members" => json(ok, &status.members),
        "/v1/cluster/prometheus-sd" => json(ok, &discovery::target_groups(&status.members)),
        "/v1/cluster/ring" => {
            let (digest, ranges) = (status.ring_digest.clone(), status.ring.clone());
            json(ok, &RingReply { digest, ranges })
        }
        "/v1/cluster/ring/locate" => locate(query, status),
        "/v1/cluster/slots" => json(ok, &status.slots),
        "/v1/node" => node(status),
        _ => return None,
    })
}

fn ready(status: &Status) -> Reply {
    if status.ready {
        return json(StatusCode::OK, &json!({ "ready": true }));
    }
    let reason = status.not_ready_because.as_deref().unwrap_or("the node has only just started");
    problem(StatusCode::SERVICE_UNAVAILABLE, reason)
}

fn cluster(status: &Status) -> Reply {
    let count = |state| status.members.iter().filter(|member| member.state == state).count();
    let members: serde_json::Map<_, _> = MemberState::ALL
        .into_iter()
        .map(|state| (state.word().to_owned(), count(state).into()))
        .collect();
    let summary = json!({
        "cluster": status.cluster,
        "seen_by": status.name,
        "members": members,
        "ring_digest": status.ring_digest,
        "slots_without_leader": status.slots_of(|leader| leader.is_none()),
        "slots_led_by_the_dead": status.slots_led_by_the_dead(),
    });
    json(StatusCode::OK, &summary)
}

/// The node without what it knows of others, which has its own paths.
fn node(status: &Status) -> Reply {
    let own = Status {
        members: status.members.iter().filter(|m| m.name == status.name).cloned().collect(),
        ring: Vec::new(),
        slots: Vec::new(),
        ..status.clone()
    };
    json(StatusCode::OK, &own)
}

fn locate(query: Option<&str>, status: &Status) -> Reply {
    let mut pairs = query.into_iter().flat_map(|query| query.split('&'));
    let Some(encoded) = pairs.find_map(|pair| pair.strip_prefix("key=")) else {
        return problem(StatusCode::BAD_REQUEST, "name the key: /v1/cluster/ring/locate?key=KEY");
    };
    let Some(key) = percent_decoded(encoded) else {
        return problem(StatusCode::BAD_REQUEST, "a % in the key needs two hexadecimal digits");
    };
    let slot = slot_of(&key).number();
    let desired = status.ring.iter().find(|range| (range.first..=range.last).contains(&slot));
    let leading = status.slots.iter().find(|range| (range.first..=range.last).contains(&slot));
    let leader = leading.and_then(|range| range.leader.clone());
    let member = status.members.iter().find(|member| Some(&member.name) == leader.as_ref());
    let reply = LocateReply {
        key: String::from_utf8_lossy(&key).into_owned(),
        slot,
        desired: desired.and_then(|range| range.owners.first().cloned()),
        client: member.map(|member| member.client.clone()),
        leader,
    };
    json(StatusCode::OK, &reply)
}

fn leave(status: &Status, requests: &Requests) -> Reply {
    if !status.leaving {
        if status.cluster.is_none() {
            return problem(StatusCode::CONFLICT, NO_CLUSTER);
        }
        if !status.has_company() {
            return problem(StatusCode::CONFLICT, NO_COMPANY);
        }
        if requests.push(AdminRequest::Leave).is_err() {
            return busy();
        }
    }
    json(StatusCode::ACCEPTED, &json!({ "leaving": status.name }))
}

const NO_CLUSTER: &str = "this node is in no cluster yet, and holds nothing: to end it, stop the \
                          process (SIGTERM)";

const NO_COMPANY: &str = "no other member is there to take the keys: ask again once one is alive \
                          (see `piccolo members`); to end this node and lose what it holds, stop \
                          the process (SIGTERM)";

/// Query that removes a member though this node sees no majority.
pub(crate) const FORCE: &str = "force=true";

const NO_MAJORITY: &str = "may only be cut off from this node, which sees no majority of the \
                           members: ask one that does, or say --force (?force=true) if it is gone";

const NOT_DEAD: &str = "is not dead: let it leave, or stop it and ask again when `piccolo members` \
                        shows it dead, some 5 s later, or up to some 20 s if several stop at once";

const NOT_DEAD_YET: &str = "is not dead yet, but suspect: ask again when `piccolo members` shows \
                            it dead, within some 5 s, or up to some 20 s if several went at once";

fn remove(encoded: &str, query: Option<&str>, status: &Status, requests: &Requests) -> Reply {
    let name = percent_decoded(encoded).and_then(|name| String::from_utf8(name).ok());
    let member = status.members.iter().find(|member| Some(&member.name) == name.as_ref());
    let refusal = match member.map(|member| member.state) {
        Some(MemberState::Dead) if !status.majority && query != Some(FORCE) => {
            Some((StatusCode::CONFLICT, NO_MAJORITY))
        }
        Some(MemberState::Dead) => None,
        Some(MemberState::Left) => Some((StatusCode::CONFLICT, "has left already")),
        Some(MemberState::Suspect) => Some((StatusCode::CONFLICT, NOT_DEAD_YET)),
        Some(_) => Some((StatusCode::CONFLICT, NOT_DEAD)),
        None => Some((StatusCode::NOT_FOUND, "is no member: see `piccolo members`")),
    };
    let name = name.unwrap_or_else(|| encoded.to_owned());
    if let Some((status, why)) = refusal {
        return problem(status, &format!("{name} {why}"));
    }
    if requests.push(AdminRequest::Remove(name.clone())).is_err() {
        return busy();
    }
    json(StatusCode::ACCEPTED, &json!({ "removing": name }))
}

fn busy() -> Reply {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the node is busy: ask again")
}

/// The bytes that `text` stands for; a plus stands for itself (RFC 3986).
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            (digit()? << 4 | digit()?) as u8
        } else {
            byte
        };
        bytes.push(decoded);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_gives_bytes_or_nothing() {
        assert_eq!(percent_decoded("a%20b+%ff%00"), Some(b"a b+\xff\x00".to_vec()));
        for bad in ["%", "%2", "%zz", "a%2"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }
}
