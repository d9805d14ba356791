//! Replies, written where they are sent from.

/// Writes one reply in the version of the protocol that the connection speaks.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

impl<'a> Reply<'a> {
    /// A writer that appends to `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Self { out, resp3 }
    }

    /// Whether the connection speaks version 3.
    pub fn resp3(&self) -> bool {
        self.resp3
    }

    /// A short text without line ends.
    pub fn status(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// The status `OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error: its code in capitals, a space, and a text, in which line ends become spaces.
    pub fn error(&mut self, text: &str) {
        self.out.push(b'-');
        self.out.extend(text.bytes().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
        self.end();
    }

    /// Bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(bytes.len()).as_bytes();
        self.out.reserve(bytes.len() + digits.len() + 5);
        self.out.push(b'$');
        self.out.extend_from_slice(digits);
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(bytes);
        self.end();
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// The start of an array of `items` values, which must follow.
    pub fn array(&mut self, items: usize) {
        self.header(b'*', items as i64);
    }

    /// The start of a map of `pairs` pairs, which must follow; a flat array in version 2.
    pub fn map(&mut self, pairs: usize) {
        if self.resp3 {
            self.header(b'%', pairs as i64);
        } else {
            self.array(2 * pairs);
        }
    }

    /// The start of a set of `items` values, which must follow; an array in version 2.
    pub fn set(&mut self, items: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, items as i64);
    }

    /// True or false; 1 or 0 in version 2.
    pub fn boolean(&mut self, value: bool) {
        if self.resp3 {
            self.out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(i64::from(value));
        }
    }

    /// A number with a fraction; its text in version 2.
    pub fn double(&mut self, value: f64) {
        let text = match value {
            f64::INFINITY => "inf".to_owned(),
            f64::NEG_INFINITY => "-inf".to_owned(),
            _ if value.is_nan() => "nan".to_owned(),
            _ => value.to_string(),
        };
        if self.resp3 {
            self.out.push(b',');
            self.out.extend_from_slice(text.as_bytes());
            self.end();
        } else {
            self.bulk(text.as_bytes());
        }
    }

    /// Text meant for people, `kind` (three letters, such as `txt`) saying how to show it.
    pub fn verbatim(&mut self, kind: [u8; 3], text: &str) {
        if self.resp3 {
            self.header(b'=', text.len() as i64 + 4);
            self.out.extend_from_slice(&kind);
            self.out.push(b':');
            self.out.extend_from_slice(text.as_bytes());
            self.end();
        } else {
            self.bulk(text.as_bytes());
        }
    }

    /// A reply already written, by another shard or node, in the same version of the protocol.
    pub fn raw(&mut self, reply: &[u8]) {
        self.out.extend_from_slice(reply);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.out.push(kind);
        self.out.extend_from_slice(digits.format(value).as_bytes());
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}
