// ioredis with its defaults, as one of the programs of clients_under_change.rs.
"use strict";

const { Redis } = require("ioredis");
const main = require("./program.js");

class Client {
  constructor(mode, nodes) {
    this.cluster = mode === "cluster";
    // One client writes, the other reads, each at a node of its own.
    const make = () =>
      this.cluster ? [new Redis.Cluster(nodes)] : nodes.map((node) => new Redis(node));
    this.clients = make();
    this.writer = this.clients[0];
    this.reader = this.clients.at(-1);
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
    return this.writer.mset(...pairs.flat());
  }

  mget(keys) {
    return this.reader.mget(...keys);
  }

  async pipeline(pairs) {
    const pipe = this.writer.pipeline();
    for (const [key, value] of pairs) pipe.set(key, value).get(key);
    const replies = await pipe.exec();
    return replies.filter((_, at) => at % 2 === 1).map(([error, value]) => error ?? value);
  }

  nodes() {
    return this.cluster ? this.reader.nodes("master") : [this.reader];
  }

  async dbsize() {
    const sizes = await Promise.all(this.nodes().map((node) => node.dbsize()));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async scan() {
    const keys = [];
    for (const node of this.nodes()) {
      for await (const some of node.scanStream()) keys.push(...some);
    }
    return keys;
  }

  async close() {
    await Promise.all(this.clients.map((client) => client.quit()));
  }
}

main(async (mode, nodes) => {
  const client = new Client(mode, nodes);
  await client.writer.ping();
  return client;
});
