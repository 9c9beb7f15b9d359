//! What an application changes to be observed: few lines, counted here, and nothing it generates.
//! Runs every example as a newcomer would, with a GGUF file that this test writes.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file},
};
use fathomline_edge::Waiting;

const WIDTH: usize = 64;
const VOCABULARY: usize = 256;

/// Lines of code, the header apart.
fn code(example: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{example}.rs"));
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("//!"));
    lines.map(str::to_owned).collect()
}

/// Length of the longest common subsequence.
fn common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for left in a {
        let mut diagonal = 0;
        for (index, right) in b.iter().enumerate() {
            let above = row[index + 1];
            row[index + 1] = if left == right {
                diagonal + 1
            } else {
                above.max(row[index])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[test]
fn five_changed_lines_are_enough_to_observe_a_candle_loop() {
    let (plain, observed) = (code("gguf_plain"), code("gguf_observed"));
    let changed = observed.len() - common(&plain, &observed);
    assert!(
        (1..=5).contains(&changed),
        "{changed} lines are new or changed"
    );
}

/// A Llama of one layer with fixed weights, as small as its format allows.
fn write_gguf(path: &Path) {
    let matrix = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns)
            .map(|n| ((n * 2_654_435_761 % 1_009) as f32 / 1_009.0 - 0.5) / 4.0)
            .collect();
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap()
    };
    let ones = || {
        let ones = Tensor::ones(WIDTH, candle_core::DType::F32, &Device::Cpu).unwrap();
        QTensor::quantize(&ones, GgmlDType::F32).unwrap()
    };
    let mut tensors = vec![
        ("token_embd.weight", matrix(VOCABULARY, WIDTH)),
        ("output.weight", matrix(VOCABULARY, WIDTH)),
        ("output_norm.weight", ones()),
        ("blk.0.attn_norm.weight", ones()),
        ("blk.0.ffn_norm.weight", ones()),
    ];
    for name in [
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ] {
        let name: &'static str = format!("blk.0.{name}.weight").leak();
        tensors.push((name, matrix(WIDTH, WIDTH)));
    }
    let number = gguf_file::Value::U32;
    let metadata = [
        ("llama.attention.head_count", number(4)),
        ("llama.attention.head_count_kv", number(4)),
        ("llama.block_count", number(1)),
        ("llama.embedding_length", number(WIDTH as u32)),
        ("llama.rope.dimension_count", number(16)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            gguf_file::Value::F32(1e-5),
        ),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (*name, tensor))
        .collect();
    gguf_file::write(&mut fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

/// Where cargo put the examples that it built for this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().join("examples");
    folder.join(name)
}

/// Standard output of an example whose state lies in `state`.
fn run(name: &str, arguments: &[&str], state: &Path) -> String {
    let mut command = Command::new(example(name));
    command.args(arguments).env("XDG_STATE_HOME", state);
    let output = command.output();
    let output = output.expect("cargo test without a choice of targets builds the examples first");
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(window: &Waiting) -> String {
    String::from_utf8_lossy(&window.body).into_owned()
}

#[test]
fn an_observed_loop_generates_the_same_tokens_and_leaves_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("tiny.gguf");
    write_gguf(&gguf);
    let arguments = [gguf.to_str().unwrap(), "turn it up, canary-51c0"];
    let plain = run("gguf_plain", &arguments, folder.path());
    let observed = run("gguf_observed", &arguments, folder.path());
    assert!(plain.split(' ').count() > 2, "{plain}");
    assert_eq!(plain, observed);
    // No collector: the window waits where the next start finds it.
    let spool = folder.path().join("fathomline/tiny");
    let waiting = Waiting::in_spool(&spool).unwrap();
    let sent = text(waiting.last().unwrap());
    for name in [
        "fathomline.output.surprisal",
        "gen_ai.server.time_to_first_token",
        "q8_0",
    ] {
        assert!(sent.contains(name), "{name} is missing");
    }
    assert!(!sent.contains("canary"));
    // One flipped byte of the weights is another variant.
    let mut bytes = fs::read(&gguf).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&gguf, bytes).unwrap();
    run("gguf_observed", &arguments, folder.path());
    let waiting = Waiting::in_spool(&spool).unwrap();
    let variant = |window: &Waiting| {
        let sent = text(window);
        let at = sent.find("fathomline.model.variant").unwrap();
        sent[at + 24..]
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(12)
            .collect::<String>()
    };
    let (first, last) = (waiting.first().unwrap(), waiting.last().unwrap());
    assert_ne!(first.identity.boot, last.identity.boot);
    assert_ne!(variant(first), variant(last));
}

#[test]
fn every_example_runs() {
    let folder = tempfile::tempdir().unwrap();
    for (name, services, metric) in [
        ("quickstart", vec![], ""),
        ("classify", vec!["router"], "fathomline.output.label"),
        ("embed", vec!["embedder"], "fathomline.embedding.projection"),
        (
            "two_models",
            vec!["assistant", "summariser"],
            "fathomline.output.entropy",
        ),
    ] {
        run(name, &[], folder.path());
        for service in services {
            let spool = folder.path().join("fathomline").join(service);
            let waiting = Waiting::in_spool(&spool).unwrap();
            assert!(
                waiting.iter().any(|window| text(window).contains(metric)),
                "{service}"
            );
        }
    }
}
