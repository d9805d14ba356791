//! Every interleaving of the flags between threads, tried by loom.
//!
//! Loom cannot see into the queues of `crossbeam`; a counter with the ordering that such a queue
//! promises at least (release on push, acquire on pop) stands in for one.
#![cfg(test)]

#[path = "../../../engine/src/io/sleep_flag.rs"]
#[expect(unreachable_pub, reason = "a module of another crate, compiled into this one")]
mod sleep_flag;

#[path = "../../../engine/src/support/word.rs"]
#[expect(dead_code, reason = "what one thread alone does needs no interleavings")]
mod word;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Release};
use sleep_flag::SleepFlag;
use word::Word;

/// A reader, its queue's length, and the wake-up that a Poll would see.
#[derive(Default)]
struct Shared {
    written: AtomicUsize,
    woken: AtomicBool,
}

/// If the reader sleeps after it found nothing, whoever writes meanwhile wakes it.
#[test]
fn a_wake_up_is_never_lost() {
    loom::model(|| {
        let flag = Arc::new(SleepFlag::new());
        let shared = Arc::new(Shared::default());
        let writer = {
            let (flag, shared) = (flag.clone(), shared.clone());
            loom::thread::spawn(move || {
                shared.written.store(1, Release);
                if flag.must_wake() {
                    shared.woken.store(true, Release);
                }
            })
        };
        flag.announce();
        let sleeps = shared.written.load(Acquire) == 0;
        writer.join().unwrap();
        if sleeps {
            assert!(shared.woken.load(Acquire), "asleep with something to read");
        }
        flag.awake();
        assert!(!flag.must_wake(), "nobody is woken who is awake");
    });
}

/// Of two writers at least one wakes a sleeping reader.
#[test]
fn two_writers_do_not_leave_it_to_each_other() {
    loom::model(|| {
        let flag = Arc::new(SleepFlag::new());
        let shared = Arc::new(Shared::default());
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (flag, shared) = (flag.clone(), shared.clone());
                loom::thread::spawn(move || {
                    shared.written.fetch_add(1, Release);
                    if flag.must_wake() {
                        shared.woken.store(true, Release);
                    }
                })
            })
            .collect();
        flag.announce();
        let sleeps = shared.written.load(Acquire) == 0;
        for writer in writers {
            writer.join().unwrap();
        }
        if sleeps {
            assert!(shared.woken.load(Acquire), "asleep with something to read");
        }
    });
}

/// A support that has lapsed is prolonged while two slots vote against it: either it goes on, and
/// nobody votes; or its epoch ends, once, and what is told of it from then on says so.
#[test]
fn a_support_is_prolonged_or_withdrawn_and_never_both() {
    loom::model(|| {
        let word = Arc::new(Word::new());
        let epoch = word.prolong(10);
        let voters: Vec<_> = (0..2)
            .map(|_| {
                let word = word.clone();
                loom::thread::spawn(move || word.end(epoch, 10))
            })
            .collect();
        let answered = word.prolong(20);
        let votes: Vec<bool> = voters.into_iter().map(|voter| voter.join().unwrap()).collect();
        assert_eq!(votes.contains(&true), word.get().0 > epoch);
        assert!(word.get().0 <= epoch + 1, "one lapse, one epoch");
        // Who was told that it is supported under this epoch counts on it until 20.
        assert!(answered > epoch || !votes.contains(&true), "told so, and voted against");
    });
}
