// node-redis with its defaults, as one of the programs of clients_under_change.rs.
"use strict";

const { createClient, createCluster } = require("redis");
const main = require("./program.js");

class Client {
  constructor(mode, nodes) {
    this.cluster = mode === "cluster";
    const roots = nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` }));
    // One client writes, the other reads, each at a node of its own.
    this.clients = this.cluster
      ? [createCluster({ rootNodes: roots })]
      : roots.map((root) => createClient(root));
    this.writer = this.clients[0];
    this.reader = this.clients.at(-1);
    // Without a listener node would end the program; what a command meets is counted there.
    for (const client of this.clients) client.on("error", (error) => this.note(error));
  }

  note(error) {
    process.stderr.write(`event: ${error.message}\n`);
  }

  set(key, value) {
    return this.writer.set(key, value);
  }

  get(key) {
    return this.reader.get(key);
  }

  incr(key) {
    return this.writer.incr(key);
  }

  mset(pairs) {
    return this.writer.mSet(pairs);
  }

  mget(keys) {
    return this.reader.mGet(keys);
  }

  async pipeline(pairs) {
    const multi = this.writer.multi();
    for (const [key, value] of pairs) multi.set(key, value).get(key);
    const replies = await multi.exec();
    return replies.filter((_, at) => at % 2 === 1);
  }

  async nodes() {
    if (!this.cluster) return [this.reader];
    return Promise.all(this.reader.masters.map((node) => this.reader.nodeClient(node)));
  }

  async dbsize() {
    const nodes = await this.nodes();
    const sizes = await Promise.all(nodes.map((node) => node.dbSize()));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async scan() {
    const keys = [];
    for (const node of await this.nodes()) {
      for await (const some of node.scanIterator()) keys.push(...some);
    }
    return keys;
  }

  async close() {
    await Promise.all(this.clients.map((client) => client.close()));
  }
}

main(async (mode, nodes) => {
  const client = new Client(mode, nodes);
  await Promise.all(client.clients.map((one) => one.connect()));
  return client;
});
