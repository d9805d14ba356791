@0x9a5be1f7c0d26e43;

# What a native client says to a node. Reserved here so that its ids are settled; the door that
# speaks it comes with the native client.

struct Outcome {
  union {
    done @0 :Void;
    unknown @1 :Void;      # whether the write was executed cannot be told
    refused @2 :Refusal;
  }
}

struct Refusal {
  reason @0 :Reason;
  detail @1 :Text;
}

enum Reason {
  malformed @0;
  wrongType @1;
  tooLarge @2;
  outOfMemory @3;
  notServed @4;            # nobody is known to lead the slot
  deadline @5;             # not executed in time
}
