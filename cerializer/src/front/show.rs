//! Keys and members.

use std::time::Duration;

use hyper::StatusCode;
use piccolo_schema::kv::{Op, Scan};
use serde::Serialize;

use super::body::{SMALL_BYTES_MAX, held, no_answer, refused};
use super::service::Service;
use crate::clock::stopwatch;
use crate::http::envelope::{Text, json};
use crate::http::problem::{Kind, Problem};
use crate::http::query::{self, BadQuery};
use crate::http::reply::{Reply, whole};
use crate::upstream::answer::Answer;

/// Keys of a page unless more or fewer are asked for, and at most.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// Bytes of the keys of a page at which it ends, if it has not come to its limit before.
const PAGE_BYTES: usize = 256 << 10;

/// How long keys are taken to be before any has come, so that a first answer is no longer than
/// 1 MiB; and how long at least.
const KEY_BYTES_GUESS: usize = 16 << 10;
const KEY_BYTES_LEAST: usize = 64;

/// How long one page is searched for.
const SEARCH_LIMIT: Duration = Duration::from_millis(250);

#[derive(Serialize)]
struct Page<'a> {
    keys: Vec<Text<'a>>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    name: String,
    client: String,
    state: String,
    zone: String,
    weight: u16,
    shards: u16,
    slots: usize,
}

impl Service {
    pub(super) async fn keys(&self, query: Option<&str>) -> Result<Reply, Problem> {
        let (prefix, limit, mut cursor) = page_of(query).map_err(bad)?;
        let began = stopwatch();
        let (mut found, mut bytes, mut longest) = (Vec::new(), 0, KEY_BYTES_GUESS);
        // A node looks at a part of the slots at once, which may hold no such key.
        loop {
            let left = limit.saturating_sub(found.len() as u64).max(1);
            let count = (((PAGE_BYTES - bytes) / longest) as u64).clamp(1, left) as u32;
            let scan = Scan { cursor, count, prefix: &prefix, pattern: b"" };
            match self.cluster.call(b"", Op::Scan(scan)).await {
                Ok(Answer::Page { cursor: next, keys }) => {
                    cursor = next;
                    bytes += keys.iter().map(Vec::len).sum::<usize>();
                    let lengths = keys.iter().chain(&found).map(Vec::len);
                    longest = lengths.max().unwrap_or(0).max(KEY_BYTES_LEAST);
                    found.extend(keys);
                }
                Ok(other) => return Err(refused(other)),
                Err(failure) => return Err(no_answer(&failure, false)),
            }
            let enough = found.len() as u64 >= limit || bytes >= PAGE_BYTES;
            if cursor == 0 || enough || stopwatch().saturating_sub(began) > SEARCH_LIMIT {
                break;
            }
        }
        let page = Page {
            keys: found.iter().map(|key| Text::of(key)).collect(),
            cursor: (cursor != 0).then(|| cursor.to_string()),
        };
        if bytes as u64 <= SMALL_BYTES_MAX {
            return Ok(whole(StatusCode::OK, "application/json", json(&page)));
        }
        let permit = self.room().await?;
        Ok(whole(StatusCode::OK, "application/json", held(json(&page), permit)))
    }

    pub(super) fn members(&self, query: Option<&str>) -> Result<Reply, Problem> {
        let [] = query::parse(query, []).map_err(bad)?;
        if !self.cluster.is_ready() {
            return Err(Problem::new(Kind::NoNode, "no node answers: see --nodes, and the log"));
        }
        let member = |(node, slots): (piccolo_schema::kv::Node, usize)| Member {
            name: node.name,
            client: node.client,
            state: node.state,
            zone: node.zone,
            weight: node.weight,
            shards: node.shards,
            slots,
        };
        let members = Members { members: self.cluster.members().into_iter().map(member).collect() };
        Ok(whole(StatusCode::OK, "application/json", json(&members)))
    }
}

fn page_of(query: Option<&str>) -> Result<(Vec<u8>, u64, u64), BadQuery> {
    let [prefix, limit, cursor] = query::parse(query, ["prefix", "limit", "cursor"])?;
    let wanted = "write a number from 1 to 1000";
    let count = query::number("limit", limit.as_deref(), LIMIT, wanted)?;
    if !(1..=LIMIT_MAX).contains(&count) {
        return Err(BadQuery::Value { name: "limit", given: count.to_string(), wanted });
    }
    let wanted = "write the cursor of the page before, or leave it out";
    let cursor = query::number("cursor", cursor.as_deref(), 0, wanted)?;
    Ok((prefix.unwrap_or_default().into_owned(), count, cursor))
}

fn bad(error: BadQuery) -> Problem {
    Problem::new(Kind::BadRequest, error)
}
