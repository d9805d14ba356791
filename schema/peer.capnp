@0xb6f1c2a0d3e84957;

# What two nodes say to each other over a link (TCP). A link is opened by one shard of one node;
# what it carries towards the other node is said by that shard, and only replies to its
# requests come back on it.

struct Frame {
  union {
    hello @0 :Hello;      # first frame from the one who connects
    welcome @1 :Welcome;  # first frame back
    refuse @2 :Text;      # instead of a welcome: why not; the link closes
    batch @3 :Batch;      # everything else
    challenge @4 :Challenge; # before a welcome, where the cluster has a key
    proof @5 :Id;         # answer to a challenge: a MAC over hello and challenge
  }
}

struct Id {
  high @0 :UInt64;
  low @1 :UInt64;
}

struct Hello {
  cluster @0 :Id;
  from @1 :Id;
  to @2 :Id;
  shard @3 :UInt16;        # of the sender
  bulk @4 :Bool;
  protocolMin @5 :UInt16;
  protocolMax @6 :UInt16;
  features @7 :UInt64;
  nonce @8 :Id;            # used once; zero from a node without a key
}

# Asks for a proof of the cluster's key, and gives one.
struct Challenge {
  nonce @0 :Id;            # used once
  mac @1 :Id;              # over hello and this nonce
}

struct Welcome {
  from @0 :Id;
  protocol @1 :UInt16;
  features @2 :UInt64;
}

# One turn of one shard.
struct Batch {
  requests @0 :List(Request);
  replies @1 :List(Reply);
  slots @2 :List(SlotMessage);
  routes @3 :List(Route);
  routeDigests @4 :List(UInt64);  # of 64 ranges of 256 slots; empty: not stated
}

struct Request {
  id @0 :UInt64;           # the asker's; comes back in the reply
  slot @1 :UInt16;
  kind @2 :Kind;
  resp3 @3 :Bool;          # how the reply is to be written
  body @4 :Data;           # RESP, whole commands
  fence @5 :UInt32;        # rounds of bounces that the asker has seen for this slot
  patienceMs @6 :UInt16;   # how long from now the asker waits: no use in executing it later

  enum Kind {
    command @0;            # one command of a client
    unit @1;               # several commands of one slot, executed as one change
    sweep @2;              # a question to the slot as a whole
  }
}

struct Reply {
  id @0 :UInt64;
  union {
    done @1 :Data;         # RESP, as asked
    bounced @2 :Route;     # not executed: the one asked does not lead the slot
    unknown @3 :Void;      # whether it was executed cannot be told
  }
}

struct Route {
  slot @0 :UInt16;
  term @1 :UInt32;
  era @2 :UInt64;
  leader @3 :Id;           # zero: nobody known
}

struct SlotMessage {
  slot @0 :UInt16;
  term @1 :UInt32;         # of the sender; in a refusal too
  era @2 :UInt64;
  union {
    append @3 :Append;
    ack @4 :Ack;
    open @5 :Open;
    piece @6 :Piece;
    close @7 :Close;
    stand @8 :Version;     # the leader of this term gives it up to the receiver, whose last is this
    canvass @9 :Canvass;
    dismiss @10 :UInt32;   # a config of this version, without the receiver, is committed
    vote @11 :Bool;        # for the receiver in this term; true: it would be in the next one
    inquire @12 :UInt32;   # does the receiver still lead in this term
    released @13 :UInt32;  # the sender does not, nor in any before
  }
}

struct Version {
  term @0 :UInt32;
  seq @1 :UInt64;
}

struct Config {
  version @0 :UInt32;
  voters @1 :List(Id);
  learners @2 :List(Id);
}

struct Append {
  prev @0 :Version;
  committed @1 :Version;
  changes @2 :List(Change);
}

struct Change {
  version @0 :Version;
  union {
    empty @1 :Void;
    data @2 :Data;         # records of the store
    config @3 :Config;
  }
}

struct Ack {
  last @0 :Version;
  member @1 :Bool;         # the sender holds a replica
  epoch @2 :UInt64;        # under which the sender's node supports the receiver's
  config @3 :UInt32;       # version of the config that the sender knows
}

struct Canvass {
  pre @0 :Bool;            # asked before: about the next term, and nothing changes by it
  last @1 :Version;        # what the candidate holds
  givenUp @2 :UInt32;      # the term that its leader gave up for the candidate; 0: none
}

struct Open {              # a snapshot begins; what the receiver has aside for this slot is dropped
  snapshot @0 :UInt64;
  ring @1 :UInt64;         # digest of the sender's ring; a receiver with another one refuses
}

struct Piece {             # entries of the snapshot, or a change behind its cursor
  snapshot @0 :UInt64;
  records @1 :Data;
}

struct Close {             # the end marker
  snapshot @0 :UInt64;
  last @1 :Version;
  committed @2 :Version;
  config @3 :Config;
}
