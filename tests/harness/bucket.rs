//! A bucket that speaks S3: a process of its own on loopback. In: nothing. Out: settings for houses
//! whose tables rest there, and a way to take it away and give it back. None where Python lacks the
//! package.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::{house::Settings, program, workspace};

const NAME: &str = "tables";

pub(crate) struct Bucket {
    server: Child,
    address: String,
}

impl Bucket {
    pub(crate) fn open() -> Option<Self> {
        let python = program::python_with(&["moto", "flask", "boto3"])?;
        let mut server = Command::new(python)
            .arg(workspace::root().join("tests/foreign/s3_server.py"))
            .arg(NAME)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap());
        let mut address = String::new();
        lines.read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(
            address.starts_with("http://"),
            "the server for S3 refuses to be one: see what it printed"
        );
        Some(Self { server, address })
    }

    /// A house with its log at home and its tables here.
    pub(crate) fn settings(&self) -> Settings {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "any"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        Settings {
            config: format!("[store]\nseal_after = \"500ms\"\ntables = \"s3://{NAME}/fleet\"\n"),
            environment: variables
                .map(|(name, value)| (name, value.to_owned()))
                .to_vec(),
            ..Settings::default()
        }
    }

    /// Nobody answers any more; connections are taken and hang, as behind a broken network.
    pub(crate) fn go_silent(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn come_back(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.server.id().to_string();
        let told = Command::new("kill").args([signal, &id]).status();
        assert!(
            told.is_ok_and(|status| status.success()),
            "kill {signal} {id}"
        );
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // A stopped process takes no other signal.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
