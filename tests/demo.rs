//! The first command a newcomer types: its help, its refusals, its end on Ctrl-C. Its whole story
//! takes minutes and is not told here: `fathomline-demo --once --json` tells it and judges itself.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::harness::{
    clock::{eventually, until},
    door, program,
};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(program::demo());
    let output = command.args(arguments).stdin(Stdio::null()).output();
    output.expect("the demo's binary runs")
}

/// Exit code, standard output and standard error.
fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_help_names_every_flag_and_the_exit_codes() {
    let (code, help, _) = told(&run(&["--help"]));
    assert_eq!(code, Some(0));
    for word in [
        "--devices",
        "--seed",
        "--http",
        "--data",
        "--once",
        "--json",
        "train",
        "tune",
        "Exit codes",
    ] {
        assert!(help.contains(word), "the help lacks {word}:\n{help}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_a_sentence_and_nothing_on_standard_output() {
    for (arguments, sentence) in [
        (["--devices", "10"], "a multiple of 3 from 18 on"),
        (["--http", "0.0.0.0:0"], "name a loopback address"),
        (["--seeds", "1"], "unexpected argument"),
    ] {
        let (code, out, error) = told(&run(&arguments));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{error}");
        assert!(error.contains(sentence), "{error}");
    }
}

#[test]
fn an_address_in_use_and_a_folder_in_use_are_errors_that_say_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, error) = told(&run(&["--once", "--json", "--http", &address]));
    assert_eq!((code, out.as_str()), (Some(2), ""), "{error}");
    assert!(
        error.contains(&format!("cannot listen on {address}")),
        "{error}"
    );
    assert!(error.contains("choose another with --http"), "{error}");
    assert_eq!(error.matches("in use").count(), 1, "said once: {error}");

    let folder = TempDir::new().unwrap();
    File::create(folder.path().join("something")).unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    let (code, _, error) = told(&run(&["--http", "127.0.0.1:0", "--data", &path]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("not empty; name another folder"), "{error}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "left as it was"
    );
}

/// A demo whose temporary folders lie in one of ours.
fn open(folder: &Path) -> Child {
    let log = File::create(folder.join("story.txt")).unwrap();
    let temporary = folder.join("temporary");
    fs::create_dir(&temporary).unwrap();
    Command::new(program::demo())
        .args(["--devices", "18", "--http", "127.0.0.1:0"])
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the demo's binary runs")
}

/// What this does not prove: that the story ends well.
#[cfg(unix)]
#[test]
fn its_story_begins_and_ctrl_c_ends_it_without_a_trace() {
    let folder = TempDir::new().unwrap();
    let mut demo = open(folder.path());
    let story = || fs::read_to_string(folder.path().join("story.txt")).unwrap_or_default();
    let heard = "all 18 devices are heard";
    until("devices are heard", || {
        let ended = demo.try_wait().unwrap();
        assert!(ended.is_none(), "the demo ended:\n{}", story());
        story().contains(heard)
    });
    let text = story();
    let page = text
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .unwrap();
    let answer = door::get(&format!("{page}/api/v1/verdicts"), &[]).unwrap();
    assert_eq!(answer.status, 200);

    let interrupted = Command::new("kill")
        .args(["-INT", &demo.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let ended = eventually("the demo drains", || demo.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0), "{}", story());
    assert!(
        story().contains("stopped before the story's end"),
        "{}",
        story()
    );
    let left = fs::read_dir(folder.path().join("temporary"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "temporary folders are removed");
}
