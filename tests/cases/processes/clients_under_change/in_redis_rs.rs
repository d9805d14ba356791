//! redis-rs: `Client` at the client door, `ClusterClient` at the cluster door.

use std::net::SocketAddr;

use redis::cluster::{ClusterClient, ClusterConnection, ClusterPipeline};
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Commands, Connection, FromRedisValue, cmd, pipe};

use super::program::Mode;
use super::rounds::Api;

#[track_caller]
pub(super) fn connect(mode: Mode, nodes: [SocketAddr; 2]) -> Box<dyn Api> {
    let urls = nodes.map(|node| format!("redis://{node}"));
    match mode {
        Mode::Single => {
            let open = |url: &String| redis::Client::open(url.as_str())?.get_connection();
            let [writer, reader] = urls.each_ref().map(|url| open(url).expect("redis-rs connects"));
            Box::new(Single { writer, reader })
        }
        Mode::Cluster => {
            let client = ClusterClient::new(urls).expect("addresses");
            Box::new(Clustered(client.get_connection().expect("redis-rs connects")))
        }
    }
}

/// One connection writes, the other reads, each at a node of its own.
struct Single {
    writer: Connection,
    reader: Connection,
}

impl Api for Single {
    fn mode(&self) -> Mode {
        Mode::Single
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        text(self.writer.set(key, value))
    }

    fn get(&mut self, key: &str) -> Result<String, String> {
        text(self.reader.get(key))
    }

    fn incr(&mut self, key: &str) -> Result<i64, String> {
        text(self.writer.incr(key, 1))
    }

    fn mset(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        text(self.writer.mset(pairs))
    }

    fn mget(&mut self, keys: &[String]) -> Result<Vec<String>, String> {
        text(self.reader.mget(keys))
    }

    fn pipeline(&mut self, pairs: &[(String, String)]) -> Result<Vec<String>, String> {
        let mut pipe = pipe();
        for (key, value) in pairs {
            pipe.set(key, value).ignore().get(key);
        }
        text(pipe.query(&mut self.writer))
    }

    fn dbsize(&mut self) -> Result<i64, String> {
        text(cmd("DBSIZE").query(&mut self.reader))
    }

    fn scan(&mut self) -> Result<Vec<String>, String> {
        text(self.reader.scan().and_then(Iterator::collect))
    }
}

struct Clustered(ClusterConnection);

impl Api for Clustered {
    fn mode(&self) -> Mode {
        Mode::Cluster
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        text(self.0.set(key, value))
    }

    fn get(&mut self, key: &str) -> Result<String, String> {
        text(self.0.get(key))
    }

    fn incr(&mut self, key: &str) -> Result<i64, String> {
        text(self.0.incr(key, 1))
    }

    fn mset(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        text(self.0.mset(pairs))
    }

    fn mget(&mut self, keys: &[String]) -> Result<Vec<String>, String> {
        text(self.0.mget(keys))
    }

    fn pipeline(&mut self, pairs: &[(String, String)]) -> Result<Vec<String>, String> {
        let mut pipe = ClusterPipeline::new();
        for (key, value) in pairs {
            pipe.cmd("SET").arg(key).arg(value).ignore().cmd("GET").arg(key);
        }
        text(pipe.query(&mut self.0))
    }

    fn dbsize(&mut self) -> Result<i64, String> {
        text(cmd("DBSIZE").query(&mut self.0))
    }

    /// SCAN is about one node, so each is asked in turn.
    fn scan(&mut self) -> Result<Vec<String>, String> {
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let sizes = text(self.0.route_command(&cmd("DBSIZE"), everywhere))?;
        let sizes: Vec<(String, i64)> = text(FromRedisValue::from_redis_value(sizes))?;
        let mut keys = Vec::new();
        for (node, _) in sizes {
            let (host, port) = node.rsplit_once(':').ok_or("no address")?;
            let (host, port) = (host.to_owned(), port.parse().expect("a port"));
            let node = SingleNodeRoutingInfo::ByAddress { host, port };
            let mut cursor = 0_u64;
            loop {
                let scan = cmd("SCAN").arg(cursor).to_owned();
                let page =
                    text(self.0.route_command(&scan, RoutingInfo::SingleNode(node.clone())))?;
                let (next, some): (u64, Vec<String>) =
                    text(FromRedisValue::from_redis_value(page))?;
                keys.extend(some);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(keys)
    }
}

fn text<T, E: std::fmt::Display>(found: Result<T, E>) -> Result<T, String> {
    found.map_err(|error| error.to_string())
}
