#!/usr/bin/env python3
"""redis-py with its defaults, as one of the programs of clients_under_change.rs.

    redis_py.py single|cluster run|count PREFIX ADDRESS ADDRESS
"""

import redis

import program


def single(addresses):
    """One client writes, the other reads, each at a node of its own."""
    return [redis.Redis(host=host, port=port) for host, port in addresses]


def cluster(addresses):
    nodes = [redis.cluster.ClusterNode(host, port) for host, port in addresses]
    return [redis.RedisCluster(startup_nodes=nodes)] * 2


class Client:
    def __init__(self, mode, addresses):
        self.writer, self.reader = {"single": single, "cluster": cluster}[mode](addresses)
        self.cluster = mode == "cluster"

    def set(self, key, value):
        return self.writer.set(key, value)

    def get(self, key):
        return text(self.reader.get(key))

    def incr(self, key):
        return self.writer.incr(key)

    def mset(self, pairs):
        return self.writer.mset(pairs)

    def mget(self, keys):
        return [text(value) for value in self.reader.mget(keys)]

    def pipeline(self, pairs):
        """Sets all, gets all; wrapped in MULTI and EXEC by default, except in a cluster."""
        with self.writer.pipeline() as pipe:
            for key, value in pairs.items():
                pipe.set(key, value)
                pipe.get(key)
            return [text(value) for value in pipe.execute()[1::2]]

    def dbsize(self):
        # In a cluster redis-py asks one node unless it is told otherwise.
        return self.reader.dbsize(**({"target_nodes": "primaries"} if self.cluster else {}))

    def scan(self):
        return [text(key) for key in self.reader.scan_iter()]


def text(value):
    return None if value is None else value.decode()


if __name__ == "__main__":
    program.main(Client)
