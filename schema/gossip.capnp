@0xd48f03b7a1965ce2;

# What nodes say to each other in datagrams of at most 1400 bytes, in Cap'n Proto's packed encoding.

using Id = import "peer.capnp".Id;

struct Datagram {
  cluster @0 :Id;          # zero: the sender has none yet
  from @1 :Id;
  fromName @2 :Text;
  to @3 :Id;               # zero: the sender does not know who lives at the address
  updates @4 :List(Update);
  union {
    ping @5 :UInt32;
    ack @6 :Ack;
    pingRequest @7 :PingRequest;
    join @8 :Join;         # may I come in; the first update is the sender itself
    welcome @9 :Void;      # you are in; updates are a part of the members
    refuse @10 :Refuse;    # you are not
    gossip @11 :Void;      # updates only
    mismatch @12 :Void;    # I am not the one that you think; the first update says who I am
    digest @13 :UInt64;    # of the sender's members: do we hold the same
    table @14 :Void;       # updates are a part of the members
    nack @15 :UInt32;      # the ping that you asked for is not answered so far
    ranges @16 :Ranges;    # we do not hold the same: where do we differ
    heartbeat @17 :Heartbeat;
    support @18 :Support;  # answers a heartbeat
    claimed @19 :UInt32;   # we count you as ours, see the first update; of us we hear so many,
                           # 0: less than half
  }
}

struct Ack {
  sequence @0 :UInt32;
  by @1 :Id;               # who answered: a ping may have been relayed
}

struct Heartbeat {
  sent @0 :UInt64;         # the sender's time in microseconds, which the answer repeats
  asks @1 :Bool;           # for support; false: only for an answer
}

struct Support {
  sent @0 :UInt64;
  epoch @1 :UInt64;        # under which the receiver is supported; 0: it did not ask for that
}

struct PingRequest {
  sequence @0 :UInt32;
  target @1 :Id;
  address @2 :Address;
}

struct Join {
  expect @0 :UInt16;       # nodes that make a cluster; 0: takes no part in making one
  answer @1 :Bool;         # answers a join: do not answer again
  promised @2 :Ballot;     # the sender supports nothing below this ballot
  accepted @3 :Ballot;     # the ballot in which it last accepted a cluster; round 0: none
  cluster @4 :Id;          # the cluster that it accepted
  proposed @5 :Id;         # the cluster that it proposes in the ballot it promised; zero: none
  wanted @6 :Id;           # the cluster that it wants into; zero: it has heard of none
}

struct Ballot {
  round @0 :UInt32;
  node @1 :Id;
}

struct Refuse {
  union {
    nameTaken @0 :Address; # a live node at that address has your name
    stale @1 :UInt64;      # your name was here with this generation: yours must be higher
    version @2 :Versions;  # what all members speak; you speak none of it
    full @3 :UInt32;       # the cluster has so many members and takes no more
  }
}

struct Ranges {
  digests @0 :List(UInt64);  # of each range of the sender's members
  answer @1 :Bool;         # answers the ranges of the receiver: do not answer with yours
}

struct Versions {
  oldest @0 :UInt16;
  newest @1 :UInt16;
}

struct Address {
  ip @0 :Data;             # 4 or 16 bytes
  port @1 :UInt16;
}

struct Update {
  name @0 :Text;
  id @1 :Id;
  generation @2 :UInt64;
  incarnation @3 :UInt32;
  state @4 :State;
  said @5 :State;          # what the member last said of itself: joining, alive, leaving or left
  peer @6 :Address;
  client @7 :Address;
  admin @8 :Address;
  zone @9 :Text;
  weight @10 :UInt16;
  shards @11 :UInt16;
  protocolMin @12 :UInt16;
  protocolMax @13 :UInt16;
  features @14 :UInt64;
  clusterClient @15 :Address;  # where cluster clients reach it
  accusers @16 :List(Id);  # who found it silent, while it is suspect
}

enum State {
  joining @0;
  alive @1;
  leaving @2;
  suspect @3;
  dead @4;
  left @5;
}
