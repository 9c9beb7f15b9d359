//! A collector's door for tests: answers as it is told and remembers what it was sent. In: a
//! script of replies. Out: the requests, in order. Speaks just enough HTTP for one client.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn sequence(&self) -> u64 {
        self.headers["fathomline-sequence"].parse().unwrap()
    }

    pub(crate) fn boot(&self) -> &str {
        &self.headers["fathomline-boot"]
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16, &'static str),
    /// 413 for bodies of more bytes than this, 200 for others.
    UpTo(usize),
    /// Accepts the request and never answers.
    Silence,
}

#[derive(Default)]
struct State {
    script: VecDeque<Reply>,
    /// What to answer behind the script; 200 if nothing is said.
    otherwise: Option<Reply>,
    requests: Vec<Request>,
}

/// The server; it lives as long as the test's process.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    /// Follows the script, then answers 200.
    pub(crate) fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            script: script.into_iter().collect(),
            otherwise: None,
            requests: vec![],
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { endpoint, state }
    }

    /// What to answer once the script is over.
    pub(crate) fn otherwise(&self, reply: Reply) {
        self.state.0.lock().unwrap().otherwise = Some(reply);
    }

    /// What was sent so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.0.lock().unwrap().requests.clone()
    }

    /// Waits until `count` requests are here.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Request> {
        let (state, arrived) = &*self.state;
        let state = state.lock().unwrap();
        let few = |state: &mut State| state.requests.len() < count;
        let wait = arrived
            .wait_timeout_while(state, Duration::from_secs(20), few)
            .unwrap();
        assert!(
            !wait.1.timed_out(),
            "{} of {count} requests came",
            wait.0.requests.len()
        );
        wait.0.requests.clone()
    }
}

fn serve(stream: TcpStream, (state, arrived): &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = {
            let mut state = state.lock().unwrap();
            let bytes = request.body.len();
            state.requests.push(request);
            let scripted = state.script.pop_front().or(state.otherwise.clone());
            match scripted.unwrap_or(Reply::Status(200, "")) {
                Reply::UpTo(limit) if bytes > limit => Some((413, "")),
                Reply::UpTo(_) => Some((200, "")),
                Reply::Status(status, headers) => Some((status, headers)),
                Reply::Silence => None,
            }
        };
        arrived.notify_all();
        let Some((status, headers)) = reply else {
            return thread::sleep(Duration::from_secs(3600));
        };
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{headers}\r\n");
        if reader.get_mut().write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line,
        headers,
        body,
        at: Instant::now(),
    })
}
