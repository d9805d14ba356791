//! fred: `Client` in both modes, by the configuration that its URL asks for.

use std::net::SocketAddr;

use fred::prelude::*;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use super::program::Mode;
use super::rounds::Api;

#[track_caller]
pub(super) fn connect(mode: Mode, nodes: [SocketAddr; 2]) -> Box<dyn Api> {
    // One thread more, so that what fred does in the background goes on between commands.
    let mut runtime = RuntimeBuilder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    let urls = match mode {
        Mode::Single => nodes.map(|node| format!("redis://{node}")).to_vec(),
        Mode::Cluster => vec![format!("redis-cluster://{}?node={}", nodes[0], nodes[1])],
    };
    let client = |url: String| {
        let client = Client::new(Config::from_url(&url).expect("a URL"), None, None, None);
        runtime.block_on(client.init()).expect("fred connects");
        client
    };
    let clients = urls.into_iter().map(client).collect();
    Box::new(Fred { mode, clients, runtime })
}

/// The first client writes, the last reads, each at a node of its own.
struct Fred {
    mode: Mode,
    clients: Vec<Client>,
    runtime: Runtime,
}

impl Fred {
    fn writer(&self) -> &Client {
        self.clients.first().expect("a client")
    }

    fn reader(&self) -> &Client {
        self.clients.last().expect("a client")
    }

    fn wait<T>(&self, call: impl Future<Output = FredResult<T>>) -> Result<T, String> {
        self.runtime.block_on(call).map_err(|error| error.to_string())
    }

    /// Primary nodes as fred knows them, of a cluster.
    fn servers(&self) -> Option<Vec<Server>> {
        let state = self.reader().cached_cluster_state();
        state.map(|state| state.unique_primary_nodes())
    }
}

impl Api for Fred {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.wait(self.writer().set(key, value, None, None, false))
    }

    fn get(&mut self, key: &str) -> Result<String, String> {
        self.wait(self.reader().get(key))
    }

    fn incr(&mut self, key: &str) -> Result<i64, String> {
        self.wait(self.writer().incr(key))
    }

    fn mset(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        self.wait(self.writer().mset(pairs.to_vec()))
    }

    fn mget(&mut self, keys: &[String]) -> Result<Vec<String>, String> {
        self.wait(self.reader().mget(keys.to_vec()))
    }

    fn pipeline(&mut self, pairs: &[(String, String)]) -> Result<Vec<String>, String> {
        self.wait(async {
            let pipe = self.writer().pipeline();
            for (key, value) in pairs {
                pipe.set::<(), _, _>(key, value, None, None, false).await?;
                pipe.get::<(), _>(key).await?;
            }
            let replies: Vec<String> = pipe.all().await?;
            Ok(replies.into_iter().skip(1).step_by(2).collect())
        })
    }

    fn dbsize(&mut self) -> Result<i64, String> {
        let Some(servers) = self.servers() else { return self.wait(self.reader().dbsize()) };
        let size = |server| self.wait(self.reader().with_cluster_node(server).dbsize::<i64>());
        servers.into_iter().map(size).sum()
    }

    fn scan(&mut self) -> Result<Vec<String>, String> {
        let Some(servers) = self.servers() else {
            return self.wait(pages(|cursor| self.reader().scan_page(cursor, "*", None, None)));
        };
        let mut keys = Vec::new();
        for server in servers {
            let node = self.reader().with_cluster_node(server);
            keys.extend(self.wait(pages(|cursor| node.scan_page(cursor, "*", None, None)))?);
        }
        Ok(keys)
    }
}

/// All keys of one server.
async fn pages<F: Future<Output = FredResult<(String, Vec<String>)>>>(
    page: impl Fn(String) -> F,
) -> FredResult<Vec<String>> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let (next, some) = page(cursor).await?;
        keys.extend(some);
        if next == "0" {
            return Ok(keys);
        }
        cursor = next;
    }
}
