//! What it costs to read a command from a pipeline and to find it by its name.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use piccolo_engine::command;
use piccolo_engine::resp::{Args, Limits, Parsed, Parser};

/// Commands of one buffer: what a pipeline of 64 sends at once.
const PIPELINE: u64 = 64;

fn parse_all(buffer: &[u8], parser: &mut Parser, spans: &mut Vec<piccolo_engine::resp::Span>) {
    let mut from = 0;
    while from < buffer.len() {
        spans.clear();
        match parser.next(buffer, from, spans) {
            Ok(Parsed::Command { end, .. }) => from = end,
            other => panic!("{other:?}"),
        }
        black_box(&spans);
    }
}

fn parser(criterion: &mut Criterion) {
    let value = "v".repeat(100);
    let commands = [
        ("get", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000001234\r\n".to_owned()),
        ("set", format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000001234\r\n$100\r\n{value}\r\n")),
        ("inline", "GET key:000000001234\r\n".to_owned()),
    ];
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(PIPELINE));
    for (name, command) in commands {
        let buffer = command.repeat(PIPELINE as usize).into_bytes();
        let (mut parser, mut spans) = (Parser::new(Limits::default()), Vec::new());
        group.bench_function(name, |b| b.iter(|| parse_all(&buffer, &mut parser, &mut spans)));
    }
    group.finish();
}

fn registry(criterion: &mut Criterion) {
    let buffer = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000001234\r\n";
    let mut spans = Vec::new();
    let parsed = Parser::new(Limits::default()).next(buffer, 0, &mut spans);
    assert!(matches!(parsed, Ok(Parsed::Command { .. })));
    let mut group = criterion.benchmark_group("registry");
    group.bench_function("find", |b| b.iter(|| command::find(black_box(b"GET"))));
    group.bench_function("find_long", |b| b.iter(|| command::find(black_box(b"incrbyfloat"))));
    group.bench_function("resolve", |b| {
        b.iter(|| command::resolve(black_box(&Args::new(buffer, &spans))).is_ok());
    });
    group.finish();
}

criterion_group!(benches, parser, registry);
criterion_main!(benches);
