//! How large anything on the wire may be, and why.

/// Bytes of a key at most. Redis allows 512 MiB; nobody uses it, and a key is copied more often
/// than a value.
pub const KEY_BYTES_MAX: usize = 64 << 10;

/// Longest metadata of a value, which only the native protocol sets: its length is one byte.
pub const META_BYTES_MAX: usize = 255;

/// Bytes of a value at most, unless configured lower.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

/// Bytes of one command at most: one largest value, one largest key, and room for names.
pub const COMMAND_BYTES_MAX: usize = VALUE_BYTES_MAX + KEY_BYTES_MAX + (64 << 10);

/// Arguments of one command at most (source: redis `proto-max-multibulk-len`).
pub const COMMAND_ARGUMENTS_MAX: usize = 1 << 20;

/// Bytes of a frame between nodes that its writer aims to stay below; a frame is larger only if
/// one item is.
pub const FRAME_BYTES_AIM: usize = 256 << 10;

/// Bytes of a frame between nodes at most: one largest item and what surrounds it.
pub const FRAME_BYTES_MAX: usize = COMMAND_BYTES_MAX + FRAME_BYTES_AIM + (64 << 10);

/// Bytes of one request or reply between nodes at most: a frame has room for it and its head.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - (64 << 10);

/// Segments of one Cap'n Proto message at most. Our writer makes few, since each one doubles.
pub const FRAME_SEGMENTS_MAX: usize = 64;

/// Bytes of a value in a frame between a client and a node at most: longer ones travel raw behind
/// their frame.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// Requests or replies in one frame between a client and a node at most.
pub const FRAME_ITEMS_MAX: usize = 16 << 10;

/// Bytes of a native client's first frame at most: it is read before its sender is known.
pub const HELLO_BYTES_MAX: usize = 4 << 10;

/// Nodes of a cluster, as clients hear of them, at most.
pub const NODES_MAX: usize = 4096;

/// Bytes above which a request takes the bulk link, so that it delays no small one.
pub const ORDINARY_BYTES_MAX: usize = 64 << 10;

/// Bytes of a gossip datagram at most: fits one Ethernet frame behind IPv6 and a tunnel.
pub const DATAGRAM_BYTES_MAX: usize = 1400;

/// Bytes of a node's name at most.
pub const NAME_BYTES_MAX: usize = 64;

/// Voters of a slot at most.
pub const VOTERS_MAX: usize = 5;

/// Oldest and newest version of the protocol between nodes that this build speaks.
pub const PROTOCOL: (u16, u16) = (1, 1);

const _: () = assert!(ORDINARY_BYTES_MAX < FRAME_BYTES_AIM);
const _: () = assert!(INLINE_BYTES_MAX < FRAME_BYTES_AIM);
const _: () = assert!(BODY_BYTES_MAX > COMMAND_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX > COMMAND_BYTES_MAX + FRAME_BYTES_AIM);
