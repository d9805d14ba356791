// What every program of clients_under_change.rs does, for the clients of node: see program.py.
"use strict";

const KEYS = 100;
const MANY = 10;
const MANY_EVERY = 10;
const ERRORS_MAX = 5;

class Run {
  constructor(client, prefix) {
    Object.assign(this, { client, prefix, ops: 0, counter: 0, errors: [] });
  }

  // Counts one operation; its error, or another answer than `wanted`, is noted down.
  async attempt(what, call, wanted) {
    try {
      const found = JSON.stringify(await call());
      wanted = JSON.stringify(wanted);
      if (found === wanted) {
        this.ops += 1;
        return;
      }
      this.errors.push(`${what} answered ${found}, not ${wanted}`.slice(0, 300));
    } catch (error) {
      this.errors.push(`${what}: ${error.name}: ${error.message}`.slice(0, 300));
    }
  }

  async round(number) {
    const key = `${this.prefix}:${number % KEYS}`;
    const value = `${number} of ${this.prefix}`;
    await this.attempt(`SET ${key}`, () => this.client.set(key, value), "OK");
    await this.attempt(`GET ${key}`, () => this.client.get(key), value);
    this.counter += 1;
    await this.attempt("INCR", () => this.client.incr(`${this.prefix}:counter`), this.counter);
    if (number % MANY_EVERY === 0) await this.many(number);
  }

  async many(number) {
    // One slot in a cluster; at the client door all slots are alike.
    const tag = this.client.cluster ? `{${this.prefix}}` : this.prefix;
    const keys = Array.from({ length: MANY }, (_, at) => `${tag}:many:${at}`);
    const values = keys.map((_, at) => `${number}-${at}`);
    const pairs = keys.map((key, at) => [key, values[at]]);
    await this.attempt("MSET", () => this.client.mset(pairs), "OK");
    await this.attempt("MGET", () => this.client.mget(keys), values);
    const again = pairs.map(([key, value]) => [key, `again ${value}`]);
    const wanted = again.map(([, value]) => value);
    await this.attempt("pipeline", () => this.client.pipeline(again), wanted);
    say(`ops ${this.ops}`);
  }

  async untilStdinCloses() {
    let closed = false;
    process.stdin.on("end", () => (closed = true)).resume();
    for (let number = 0; !closed && this.errors.length < ERRORS_MAX; number += 1) {
      await this.round(number);
    }
    say(JSON.stringify({ ops: this.ops, errors: this.errors, counter: this.counter }));
  }
}

async function count(client) {
  const keys = await client.scan();
  const found = { dbsize: await client.dbsize(), scanned: keys.length, keys: new Set(keys).size };
  say(JSON.stringify(found));
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

// `connect` makes a client of a mode and the addresses of nodes.
async function main(connect) {
  const [mode, task, prefix, ...words] = process.argv.slice(2);
  const nodes = words.map((word) => {
    const colon = word.lastIndexOf(":");
    return { host: word.slice(0, colon), port: Number(word.slice(colon + 1)) };
  });
  const client = await connect(mode, nodes);
  await (task === "count" ? count(client) : new Run(client, prefix).untilStdinCloses());
  await client.close();
}

module.exports = (connect) =>
  main(connect).catch((error) => {
    say(JSON.stringify({ ops: 0, errors: [`${error.name}: ${error.message}`], counter: 0 }));
    process.exit(1);
  });
