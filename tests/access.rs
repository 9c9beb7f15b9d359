//! Who is let in, and what it costs those who are not: data stays where it is until the door opens,
//! and then counts once. Nothing here is decided by time: what needs a moment is waited for.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use fathomline_edge::{Builder, Fathomline, FinishReason, Health, Operation};
use fathomline_wire::names;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use prost::Message;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status, transport::Endpoint};

use crate::harness::{
    authority::{Authority, Pair},
    clock::{now_us, until},
    device::{Device, Span, Window},
    door::{self, Answer},
    house::{self, House, Settings},
    program,
};

/// Long enough for a busy machine; a line that is refused gives up at once.
const FLUSH: Duration = Duration::from_secs(60);

const RECORDS: i64 = 7;

fn house(config: String) -> House {
    House::with(Settings {
        config,
        ..Settings::default()
    })
}

fn line(house: &House, spool: &Path) -> Builder {
    Fathomline::builder("assistant", "1.4.0")
        .endpoint(&house.addresses().otlp_http)
        .spool(spool)
        .installation("device-1")
        .without_energy()
        .window(Duration::from_secs(3_600))
}

/// Infers a few times and ends, as an application does.
fn life_of(builder: Builder) -> Health {
    let line = builder.start().unwrap();
    for _ in 0..RECORDS {
        line.operation(Operation::Chat).finish(FinishReason::Stop);
    }
    line.shutdown(FLUSH)
}

/// Inferences that the collector has counted.
fn counted(house: &House) -> i64 {
    let metric = names::OPERATION_DURATION;
    house.number(&format!(
        "SELECT sum(count) FROM distributions WHERE metric = '{metric}'"
    ))
}

#[track_caller]
fn kept(health: &Health, windows: u64, status: Option<u16>) {
    assert_eq!(health.windows_waiting, windows, "{health:?}");
    assert_eq!((health.windows_stored, health.windows_dropped), (0, 0));
    assert_eq!((health.windows_refused, health.last_status), (0, status));
}

#[track_caller]
fn drained(health: &Health, windows: u64) {
    assert_eq!(
        (health.windows_waiting, health.windows_stored),
        (0, windows),
        "{health:?}"
    );
}

#[test]
fn windows_wait_behind_an_untrusted_certificate_and_arrive_once_with_the_right_authority() {
    let (ours, other) = (Authority::new(), Authority::new());
    let door = ours.door();
    let house = house(door.section("otlp", None));
    assert!(house.addresses().otlp_http.starts_with("https://"));
    let spool = TempDir::new().unwrap();
    // Public authorities, which is all a device knows, and then a wrong one.
    kept(&life_of(line(&house, spool.path())), 1, None);
    let wrong = line(&house, spool.path()).root_certificate(other.root());
    kept(&life_of(wrong), 2, None);
    assert_eq!(counted(&house), 0);
    let right = || line(&house, spool.path()).root_certificate(ours.root());
    drained(&life_of(right()), 3);
    assert_eq!(counted(&house), 3 * RECORDS);
    // The same in the clear is no request at all.
    let clear = house.addresses().otlp_http.replace("https", "http");
    assert!(door::get(&clear, &[]).is_err());

    // New files are taken without a restart; half of a change is not.
    fs::write(&door.key, "half").unwrap();
    until("the log names the file", || {
        house.log().contains("it holds no private key")
    });
    drained(&life_of(right()), 1);
    door.become_like(&other.door());
    until("the other authority's certificate is shown", || {
        let builder = line(&house, spool.path()).root_certificate(other.root());
        builder.start().unwrap().shutdown(FLUSH).windows_waiting == 0
    });
    assert_eq!(counted(&house), 4 * RECORDS);
}

#[test]
fn without_a_certificate_of_its_authority_nobody_comes_in() {
    let (ours, other) = (Authority::new(), Authority::new());
    let root = ours.root();
    let house = house(ours.door().section("otlp", Some(&root)));
    let spool = TempDir::new().unwrap();
    let line = || line(&house, spool.path()).root_certificate(&root);
    let with = |pair: Pair| line().client_certificate(pair.certificate, pair.key);
    kept(&life_of(line()), 1, None);
    kept(&life_of(with(other.device(None))), 2, None);
    // A certificate that names a device sends as that device alone.
    kept(&life_of(with(ours.device(Some("device-2")))), 3, Some(403));
    drained(&life_of(with(ours.device(Some("device-1")))), 4);
    drained(&life_of(with(ours.device(None))), 1);
    assert_eq!(counted(&house), 5 * RECORDS);

    let endpoint = &house.addresses().otlp_grpc;
    let code = |pair: Option<&Pair>, window: &Window| {
        over_grpc_tls(endpoint, &root, pair, window).map_err(|status| status.code())
    };
    let (own, any) = (ours.device(Some("device-7")), ours.device(None));
    let window = Device::new(7).window(1, last_second(), &[0.1]);
    // Refused while shaking hands; when the client notices decides what it calls that.
    assert!(code(None, &window).is_err());
    let sent = "SELECT count(*) FROM distributions WHERE device = 'device-7'";
    assert_eq!(house.number(sent), 0);
    let others = Device::new(8).window(1, last_second(), &[0.1]);
    assert_eq!(code(Some(&own), &others), Err(Code::PermissionDenied));
    assert_eq!(code(Some(&own), &window), Ok(()));
    assert_eq!(code(Some(&any), &others), Ok(()));
}

#[test]
fn a_revoked_token_keeps_windows_and_a_new_one_drains_them() {
    let house = house("[otlp]\nrequire_token = true\n".into());
    let spool = TempDir::new().unwrap();
    let line = || line(&house, spool.path());
    kept(&life_of(line()), 1, Some(401));
    let token = created(&house, &["--fleet", "kiosks"]);
    known(&house, &token);
    drained(&life_of(line().token(&token)), 2);

    // Another process takes it away while the collector runs.
    let key = token.split('_').nth(1).unwrap();
    command(&house, &["token", "revoke", key]);
    until("the revoked token is refused", || {
        empty(&house, &token).status == 401
    });
    let refused = empty(&house, &token);
    assert!(
        refused.text().contains("the token was revoked"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.www_authenticate.as_deref(), Some("Bearer"));
    kept(&life_of(line().token(&token)), 1, Some(401));
    assert_eq!(counted(&house), 2 * RECORDS);

    // A device of its own, enrolled by the fleet's token.
    let fleet = created(&house, &["--fleet", "kiosks"]);
    known(&house, &fleet);
    let enrol = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let url = format!("{}/v1/enrol", house.addresses().otlp_http);
        let wish = json!({ "device": "device-1" }).to_string();
        door::post(&url, &headers, wish.as_bytes()).unwrap()
    };
    let enrolled = enrol(&fleet);
    assert_eq!(enrolled.status, 201, "{}", enrolled.text());
    let own = enrolled.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(enrol(&fleet).status, 409);
    drained(&life_of(line().token(&own)), 2);
    assert_eq!(counted(&house), 4 * RECORDS);
    command(&house, &["device", "revoke", "device-1"]);
    until("the revoked device is refused", || {
        empty(&house, &own).status == 401
    });
    // Not under the fleet's token either; others of the fleet go on.
    kept(&life_of(line().token(&fleet)), 1, Some(403));
    assert_eq!(offered(&house, &fleet, &window(2)).status, 200);
    assert_eq!(enrol(&fleet).status, 403);

    let listed = command(&house, &["token", "list"]);
    let devices = command(&house, &["device", "list", "--format", "json"]);
    let devices: Value = serde_json::from_str(&devices).unwrap();
    assert_eq!(devices[0]["device"], "device-1");
    assert!(devices[0]["revoked_us"].is_i64(), "{devices}");
    for secret in [&token, &fleet, &own] {
        let end = secret.splitn(3, '_').nth(2).unwrap();
        let files = house::files(house.folder());
        let holds = |bytes: &[u8]| bytes.windows(end.len()).any(|part| part == end.as_bytes());
        assert!(!listed.contains(end) && !files.iter().any(|(_, bytes)| holds(bytes)));
        assert!(
            listed.contains(secret.split('_').nth(1).unwrap()),
            "{listed}"
        );
    }
}

#[test]
fn a_devices_token_sends_as_that_device_alone_over_both_doors() {
    let house = house("[otlp]\nrequire_token = true\n[http]\nrequire_token = true\n".into());
    let token = created(&house, &["--device", "device-1"]);
    known(&house, &token);
    let refused = offered(&house, &token, &window(2));
    assert_eq!(refused.status, 403);
    let sentence = "the token is of device \"device-1\", and this names device \"device-2\"";
    assert!(refused.text().contains(sentence), "{}", refused.text());
    // The right name in the headers does not help a wrong one inside.
    let mut mixed = window(2);
    mixed.headers = window(1).headers;
    assert_eq!(offered(&house, &token, &mixed).status, 403);
    assert_eq!(offered(&house, &token, &window(1)).status, 200);

    let endpoint = &house.addresses().otlp_grpc;
    let code = |token: Option<&str>, window: &Window| {
        over_grpc(endpoint, token, window).map_err(|status| status.code())
    };
    assert_eq!(code(None, &window(1)), Err(Code::Unauthenticated));
    let unknown = "fathomline_000000000000_x";
    assert_eq!(code(Some(unknown), &window(1)), Err(Code::Unauthenticated));
    assert_eq!(code(Some(&token), &window(2)), Err(Code::PermissionDenied));
    assert_eq!(code(Some(&token), &window(1)), Ok(()));

    // Nor does it read; who may read does not send.
    let page = |authorization: &str| {
        let headers = [("authorization", authorization)];
        let url = format!("{}/api/v1/verdicts", house.addresses().http);
        door::get(&url, &headers).unwrap().status
    };
    assert_eq!(house.page("/api/v1/verdicts").status, 401);
    assert_eq!(house.page("/healthz").status, 200);
    assert_eq!(page(&format!("Bearer {token}")), 403);
    let reader = created(&house, &["--name", "ann", "--scope", "read"]);
    until("the reader is known", || {
        page(&format!("Bearer {reader}")) == 200
    });
    assert_eq!(empty(&house, &reader).status, 403);
    // Too many wrong ones cost a wait, and only whoever sends them.
    let tries: Vec<u16> = (0..200).map(|_| page("Bearer wrong")).collect();
    assert_eq!((tries[0], tries[199]), (401, 429));
    assert_eq!(page(&format!("Bearer {reader}")), 200);
}

#[test]
fn pages_and_answers_come_over_tls_to_whoever_has_the_authority_and_a_token() {
    let ours = Authority::new();
    let section = ours.door().section("http", None);
    let house = house(format!("[http]\nrequire_token = true\n{section}"));
    let token = fs::read_to_string(house.data().join("admin.token")).unwrap();
    let ask = |root: Option<&Path>, token: Option<&str>| {
        let mut command = Command::new(program::path());
        command.args(["sql", "SELECT 41 + 1 AS answer", "--url"]);
        command.arg(&house.addresses().http);
        if let Some(root) = root {
            command.arg("--root-certificate").arg(root);
        }
        house::run(command.env("FATHOMLINE_TOKEN", token.unwrap_or("wrong")))
    };
    let root = ours.root();
    let (answered, printed) = ask(Some(&root), Some(token.trim()));
    assert!(answered && printed.contains("42"), "{printed}");
    let (answered, printed) = ask(Some(&root), None);
    assert!(!answered && printed.contains("not known"), "{printed}");
    assert!(!ask(None, Some(token.trim())).0);
}

#[test]
fn a_door_that_would_be_too_open_or_has_no_key_stays_closed() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("fathomline.toml");
    let refused = |text: &str, doors: &[&str]| {
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program::path());
        command.arg("serve").arg("--config").arg(&config);
        command.arg("--data").arg(folder.path().join("data"));
        let closed = ["--http", "--otlp-http", "--otlp-grpc"];
        for door in closed.iter().filter(|door| !doors.contains(door)) {
            command.args([door, "127.0.0.1:0"]);
        }
        let (started, printed) = house::run(command.args(doors));
        assert!(!started && !printed.contains("panicked"), "{printed}");
        printed
    };
    for (door, way_out) in [
        ("--http", "http.require_token = true"),
        ("--otlp-http", "otlp.require_token = true"),
        ("--otlp-grpc", "otlp.tls.client_ca"),
    ] {
        let printed = refused("", &[door, "0.0.0.0:0"]);
        assert!(
            printed.contains("refusing to listen on 0.0.0.0:0"),
            "{printed}"
        );
        assert!(printed.contains(way_out), "{printed}");
    }
    let authority = Authority::new();
    let pair = authority.door();
    fs::remove_file(&pair.key).unwrap();
    let printed = refused(&pair.section("otlp", None), &[]);
    let path = pair.key.display().to_string();
    assert!(
        printed.contains("otlp.tls.key") && printed.contains(&path),
        "{printed}"
    );
}

/// Runs a command on the house's data, as an operator does beside the running collector.
fn command(house: &House, arguments: &[&str]) -> String {
    let data = house.data().display().to_string();
    let (done, printed) = house.command_line(&[arguments, &["--data", &data]].concat());
    assert!(done, "{arguments:?}: {printed}");
    printed
}

/// A new token: the first line that is printed.
pub(crate) fn created(house: &House, arguments: &[&str]) -> String {
    let printed = command(house, &[&["token", "create"], arguments].concat());
    printed.lines().next().unwrap().to_owned()
}

fn known(house: &House, token: &str) {
    until("the token is known", || empty(house, token).status == 200);
}

/// An empty request is a success for whoever may come in.
fn empty(house: &House, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    house.offer_bytes(&[("authorization", &bearer)], &[])
}

fn offered(house: &House, token: &str, window: &Window) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = window.headers.iter();
    let headers = headers.map(|(name, value)| (*name, value.as_str()));
    let headers: Vec<_> = headers
        .chain([("authorization", bearer.as_str())])
        .collect();
    house.offer_bytes(&headers, &window.body)
}

fn last_second() -> Span {
    let end_us = now_us();
    Span {
        start_us: end_us - 1_000_000,
        end_us,
    }
}

/// The first window of a device.
fn window(device: usize) -> Window {
    Device::new(device).window(1, last_second(), &[0.1])
}

fn export(
    window: &Window,
    token: Option<&str>,
    connect: impl AsyncFnOnce() -> Result<tonic::transport::Channel, tonic::transport::Error>,
) -> Result<(), Status> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let message = ExportMetricsServiceRequest::decode(&window.body[..]).unwrap();
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
    runtime.block_on(async {
        let channel = connect().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = MetricsServiceClient::new(channel);
        client.export(request).await.map(drop)
    })
}

fn over_grpc(endpoint: &str, token: Option<&str>, window: &Window) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
    export(window, token, async || endpoint.connect().await)
}

/// Over a connection of our own: the client library is built without TLS.
fn over_grpc_tls(
    endpoint: &str,
    root: &Path,
    pair: Option<&Pair>,
    window: &Window,
) -> Result<(), Status> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(root).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_file(&pair.certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            let config = builder.with_client_auth_cert(vec![certificate], key);
            config.unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = endpoint.trim_start_matches("https://").to_owned();
    let connector = tower::service_fn(move |_| {
        let (config, address) = (Arc::new(config.clone()), address.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    export(window, None, async || {
        endpoint.connect_with_connector(connector).await
    })
}
