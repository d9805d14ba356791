@0x9a5be1f7c0d26e43;

# What a native client and a node say to each other, over TCP on the node's client port.
#
# The client sends the preface, 8 bytes: 0x00 "PICCOLO". No Redis client begins so, since a command
# in RESP begins with a visible character. Then frames follow both ways: the client's first is a
# hello, the node's first a welcome or a refusal.
#
# A value longer than `inlineMax` of the limits travels raw behind its frame: `valueBehind` says how
# many bytes, and the frame then holds this one request or reply alone. So nobody has to build or
# hold a message of many MiB, and who copies values from one socket to another can do it in pieces.

struct Frame {
  union {
    hello @0 :Hello;
    welcome @1 :Welcome;
    refuse @2 :Refusal;        # instead of a welcome, or of anything later: the connection closes
    requests @3 :List(Request);
    replies @4 :List(Reply);   # in the order of the requests
  }
}

struct Id {
  high @0 :UInt64;
  low @1 :UInt64;
}

struct Hello {
  protocolMin @0 :UInt16;
  protocolMax @1 :UInt16;
  features @2 :UInt64;
  password @3 :Data;           # empty: none
  name @4 :Text;               # for CLIENT LIST
}

struct Welcome {
  protocol @0 :UInt16;
  features @1 :UInt64;
  cluster @2 :Id;
  node @3 :Text;               # name of the one who answers
  valueBytesMax @4 :UInt32;
}

struct Request {
  id @0 :UInt64;               # the client's; comes back in the reply
  key @1 :Data;                # of those that have one
  union {
    get @2 :Get;
    set @3 :Set;
    delete @4 :Condition;
    increment @5 :Int64;       # by so much; a key that is not there counts as 0
    append @6 :Data;           # never behind the frame
    expire @7 :Expire;
    scan @8 :Scan;
    topology @9 :Void;
  }
}

struct Get {
  union {
    whole @0 :Void;
    head @1 :Void;             # everything but the value
    upTo @2 :UInt32;           # whole, if the value has at most so many bytes, else the head
  }
}

struct Set {
  value @0 :Data;
  valueBehind @1 :UInt32;      # instead: so many bytes, behind the frame
  condition @2 :Condition;
  expiry @3 :Expiry;
  meta @4 :Data;               # kept with the value, at most 255 bytes: REST keeps its type here
}

struct Condition {
  union {
    always @0 :Void;
    absent @1 :Void;
    present @2 :Void;
    version @3 :UInt64;        # what is there has this version
  }
}

struct Expiry {
  union {
    never @0 :Void;
    keep @1 :Void;             # as it was
    inMs @2 :UInt64;           # from when the leader executes it
    atMs @3 :UInt64;           # Unix time
  }
}

struct Expire {
  expiry @0 :Expiry;
  condition @1 :Condition;
}

struct Scan {
  cursor @0 :UInt64;           # 0: from the start
  count @1 :UInt32;            # about so many keys
  prefix @2 :Data;
  match @3 :Data;              # glob pattern instead of a prefix; empty: every key
}

struct Reply {
  id @0 :UInt64;
  union {
    entry @1 :Entry;           # get
    absent @2 :Void;           # get, delete, expire: no such key
    written @3 :Written;       # set, delete, expire
    number @4 :Number;         # increment: the number; append: the length
    unmet @5 :UInt64;          # the condition is not met; the version that is there, 0 for no key
    page @6 :Page;             # scan
    topology @7 :Topology;
    refused @8 :Refusal;       # nothing was changed
    unknown @9 :Text;          # whether the write was executed cannot be told, and why
  }
}

struct Entry {
  version @0 :UInt64;
  expiresAtMs @1 :UInt64;      # Unix time; 0: never
  meta @2 :Data;
  valueBytes @3 :UInt32;
  value @4 :Data;              # empty if only the head was asked for, or the value is behind
  valueBehind @5 :UInt32;
  headOnly @6 :Bool;           # the value has not been sent
}

struct Written {
  version @0 :UInt64;          # of what is written; for delete, of what was there
  created @1 :Bool;            # there was no such key before
}

struct Number {
  value @0 :Int64;
  version @1 :UInt64;
}

struct Page {
  cursor @0 :UInt64;           # 0: this was the last
  keys @1 :List(Data);
}

struct Topology {
  nodes @0 :List(Node);
  leaders @1 :List(Range);     # in order of slots; slots that nobody leads are in none
}

struct Node {
  name @0 :Text;
  client @1 :Text;             # address, advertised
  state @2 :Text;              # alive, suspect, ...
  zone @3 :Text;
  weight @4 :UInt16;
  shards @5 :UInt16;
}

struct Range {
  first @0 :UInt16;
  last @1 :UInt16;
  node @2 :UInt16;             # its place among the nodes
}

struct Refusal {
  reason @0 :Reason;
  detail @1 :Text;             # for people
}

enum Reason {
  malformed @0;                # the client's fault: not this protocol, or arguments out of range
  wrongType @1;                # increment of what is no number
  tooLarge @2;
  outOfMemory @3;
  notServed @4;                # nobody is known to lead the slot; try again
  busy @5;                     # too much waits; try again
  unauthorised @6;
  leaving @7;                  # this node takes no new connections
}
