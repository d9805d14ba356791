//! HELLO and AUTH: who the client is and how it wants to be spoken to.

use super::answers::REDIS_VERSION;
use super::session::Door;
use super::stream::StreamKey;
use super::{Shard, clients};
use crate::resp::{Args, Reply};

impl Shard {
    pub(super) fn hello(&mut self, key: StreamKey, args: &Args<'_>) {
        let Some(session) = self.streams.session(key) else { return };
        let mut resp3 = session.resp3;
        let mut rest = args.iter().skip(1);
        match rest.next() {
            None => {}
            Some(b"2") => resp3 = false,
            Some(b"3") => resp3 = true,
            Some(version) if version.iter().all(u8::is_ascii_digit) => {
                return self.say(key, |r| r.error("NOPROTO unsupported protocol version"));
            }
            Some(_) => {
                let text = "ERR Protocol version is not an integer or out of range";
                return self.say(key, |reply| reply.error(text));
            }
        }
        let (mut name, mut granted) = (None, session.authenticated);
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"auth") {
                let (Some(user), Some(password)) = (rest.next(), rest.next()) else {
                    let text = bad_option(option);
                    return self.say(key, |reply| reply.error(&text));
                };
                if !self.grants(user, password) {
                    return self.say(key, |reply| reply.error(WRONG_PASSWORD));
                }
                granted = true;
            } else if option.eq_ignore_ascii_case(b"setname")
                && let Some(given) = rest.next()
            {
                name = Some(given.to_vec());
            } else {
                let text = bad_option(option);
                return self.say(key, |reply| reply.error(&text));
            }
        }
        if !granted {
            return self.say(key, |reply| reply.error(NO_AUTH_HELLO));
        }
        if name.as_deref().is_some_and(|name| !clients::is_name(name)) {
            return self.say(key, |reply| reply.error(clients::BAD_NAME));
        }
        let Some(session) = self.streams.session(key) else { return };
        (session.authenticated, session.resp3) = (true, resp3);
        if let Some(name) = name {
            session.name = name;
        }
        let (id, door) = (session.id, session.door);
        self.say(key, |reply| write_hello(id, resp3, door, reply));
    }

    pub(super) fn auth(&mut self, key: StreamKey, args: &Args<'_>) {
        let (user, password) = match args.len() {
            2 if self.password.is_none() => {
                return self.say(key, |reply| reply.error(NO_PASSWORD));
            }
            2 => (&b"default"[..], args.get(1)),
            3 => (args.get(1), args.get(2)),
            _ => return self.say(key, |reply| reply.error("ERR syntax error")),
        };
        if !self.grants(user, password) {
            return self.say(key, |reply| reply.error(WRONG_PASSWORD));
        }
        if let Some(session) = self.streams.session(key) {
            session.authenticated = true;
        }
        self.say_ok(key);
    }

    pub(super) fn grants(&self, user: &[u8], password: &[u8]) -> bool {
        let Some(wanted) = &self.password else { return user == b"default" };
        // As long for a wrong password as for the right one.
        let differing = wanted.iter().zip(password).fold(0, |sum, (a, b)| sum | (a ^ b));
        user == b"default" && wanted.len() == password.len() && differing == 0
    }
}

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
     default user. Are you sure your configuration is correct?";

const NO_AUTH_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, \
     otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
     client and select the RESP protocol version at the same time";

fn bad_option(option: &[u8]) -> String {
    let option = String::from_utf8_lossy(&option[..option.len().min(128)]);
    format!("ERR Syntax error in HELLO option '{option}'")
}

fn write_hello(id: u64, resp3: bool, door: Door, reply: &mut Reply<'_>) {
    let mode = if door == Door::Cluster { "cluster" } else { "standalone" };
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(id as i64);
    for (name, value) in [("mode", mode), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}
