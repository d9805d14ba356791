@0xd48f03b7a1965ce2;

# What nodes say to each other in datagrams of at most 1400 bytes.

using Id = import "peer.capnp".Id;

struct Datagram {
  cluster @0 :Id;          # zero: the sender has none yet
  from @1 :Id;
  fromName @2 :Text;
  to @3 :Id;               # zero: the sender does not know who lives at the address
  updates @4 :List(Update);
  union {
    ping @5 :UInt32;
    ack @6 :UInt32;
    pingRequest @7 :PingRequest;
    nack @8 :UInt32;
    join @9 :Join;         # may I come in; answered with a welcome, or with the asked one's own join
    welcome @10 :Welcome;  # a part of the members
    gossip @11 :Void;      # updates only
    mismatch @12 :Id;      # this is not the id that you think; it is this one
  }
}

struct PingRequest {
  sequence @0 :UInt32;
  target @1 :Id;
  address @2 :Address;
}

struct Join {
  expect @0 :UInt16;       # nodes that make a cluster; 0: will not create one
  promised @1 :Text;       # name of the one this node lets create; empty: none yet
  known @2 :List(Text);    # names of the nodes without a cluster that the sender has found
}

struct Welcome {
  cluster @0 :Id;
  part @1 :UInt16;
  parts @2 :UInt16;
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
  peer @5 :Address;
  client @6 :Address;
  admin @7 :Address;
  zone @8 :Text;
  weight @9 :UInt16;
  shards @10 :UInt16;
  protocolMin @11 :UInt16;
  protocolMax @12 :UInt16;
  features @13 :UInt64;
}

enum State {
  joining @0;
  alive @1;
  suspect @2;
  dead @3;
  leaving @4;
  left @5;
}
