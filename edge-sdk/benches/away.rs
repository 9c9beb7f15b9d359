//! What a collector that is not there costs the inference path: nothing that can be told from
//! noise. Two lines with windows of 100 ms in turns: one is answered, the other's uploads are
//! accepted and never answered. In: nothing. Out: p50 and p99 of an inference on both, their ratio,
//! and beside it the ratio of the answered line to itself, which is the noise. Run it with
//! `cargo bench -p fathomline-edge --no-default-features --bench away`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use fathomline_edge::{Fathomline, FinishReason, Operation};

/// Blocks of each line, in turns, and inferences of a block.
const BLOCKS: usize = 200;
const INFERENCES: usize = 20_000;

const ROW: [f32; 2] = [0.5, -0.5];

/// A door that answers 200, or accepts and never says a word.
fn door(answers: bool) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, answers));
        }
    });
    Ok(endpoint)
}

fn serve(stream: TcpStream, answers: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        reader.read_exact(&mut vec![0; length])?;
        if !answers {
            thread::sleep(Duration::from_secs(3_600));
        }
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

fn line(endpoint: &str, spool: &std::path::Path) -> Result<Fathomline, fathomline_edge::Error> {
    let builder = Fathomline::builder("assistant", "1.4.0").without_energy();
    let builder = builder.endpoint(endpoint).spool(spool);
    builder.window(Duration::from_millis(100)).start()
}

/// Nanoseconds of each inference of a block, sorted.
fn block(line: &Fathomline) -> Vec<u64> {
    let one = |_| {
        let began = Instant::now();
        let mut op = line.operation(Operation::Chat);
        op.prompt_tokens(17);
        op.observe_logits(&ROW, 0);
        op.finish(FinishReason::Stop);
        began.elapsed().as_nanos() as u64
    };
    let mut nanos: Vec<u64> = (0..INFERENCES).map(one).collect();
    nanos.sort_unstable();
    nanos
}

/// The middle one of many.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (here, away) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let answered = line(&door(true)?, here.path())?;
    let ignored = line(&door(false)?, away.path())?;
    block(&answered);
    block(&ignored);
    let mut blocks: [Vec<Vec<u64>>; 3] = Default::default();
    for _ in 0..BLOCKS {
        for (blocks, line) in blocks.iter_mut().zip([&answered, &ignored, &answered]) {
            blocks.push(block(line));
        }
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let place = (INFERENCES as f64 * share) as usize;
        let of = |blocks: &[Vec<u64>]| median(blocks.iter().map(|nanos| nanos[place]).collect());
        let [first, gone, second] = [&blocks[0], &blocks[1], &blocks[2]].map(|all| of(all));
        println!(
            "{name}: answered {first} ns, never answered {gone} ns, ratio {:.3}; to itself {:.3}",
            gone as f64 / first as f64,
            second as f64 / first as f64
        );
    }
    let waiting = ignored.health().windows_waiting;
    println!(
        "windows: {} stored by one, {waiting} wait with the other",
        answered.health().windows_stored
    );
    // Nobody waits for the door that never answers.
    std::process::exit(0)
}
