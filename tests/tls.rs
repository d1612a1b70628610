//! TLS on the one port: both protocols, callers with certificates, certificates that change while
//! the server runs, and handshakes that never end.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mediary_client::{Client, v1::text_event::Kind};
use support::{
    House,
    ask::question,
    certificates::{Authority, first_of, shown},
    house::run,
    wire::{WEB, frame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const SERVER_INFO: &str = "/mediary.v1.ServerService/GetServerInfo";

fn client(house: &House, authority: &Authority) -> Client {
    let url = format!("https://{}", house.address);
    Client::builder().url(url).ca_certificate(authority.pem()).build().unwrap()
}

#[tokio::test]
async fn our_client_is_answered_over_tls_by_a_server_that_it_can_know() {
    let authority = Authority::new();
    let house = authority.house().start();
    let mut answer =
        client(&house, &authority).stream(question("sandbox-text", "say hello")).await.unwrap();
    let mut words = String::new();
    while let Some(event) = answer.next().await {
        if let Some(Kind::TextDelta(delta)) = event.unwrap().kind {
            words += &delta.text;
        }
    }
    assert!(words.contains("Hello"), "{words}");

    let stranger = client(&house, &Authority::new()).server_info().await;
    assert!(stranger.is_err(), "a server of unknown origin was believed");
    let in_clear = Client::builder().url(house.url()).build().unwrap().server_info().await;
    assert!(in_clear.is_err(), "a server with TLS answers in clear");
}

#[test]
fn the_command_line_takes_the_authority_as_an_option_or_from_the_environment() {
    let authority = Authority::new();
    let house = authority.house().file("ca.pem", authority.pem()).start();
    let url = format!("https://{}", house.address);
    let folder = house.folder.path();
    let by_option = run(folder, &[], &["models", "--url", &url, "--ca", "ca.pem"], "");
    assert_eq!(by_option.code, 0, "{}", by_option.stderr);
    let by_variable =
        run(folder, &[("MEDIARY_CA", "ca.pem"), ("MEDIARY_URL", &url)], &["models"], "");
    assert_eq!(by_variable.code, 0, "{}", by_variable.stderr);
    let without = run(folder, &[], &["models", "--url", &url], "");
    assert_eq!(without.code, 3, "{}", without.stderr);
    let missing = run(folder, &[], &["models", "--ca", "nowhere.pem"], "");
    assert!(missing.stderr.contains("nowhere.pem cannot be read"), "{}", missing.stderr);
}

#[tokio::test]
async fn http_2_and_grpc_web_are_agreed_upon_in_the_handshake() {
    let authority = Authority::new();
    let house = authority.house().start();
    let uri = format!("https://localhost{SERVER_INFO}");
    let body = Full::new(Bytes::from(frame(&[])));

    let two = authority.connect(&house, "h2").await.unwrap();
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(two))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let call = Request::post(&uri)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(body.clone())
        .unwrap();
    let answer = sender.send_request(call).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    drop(sender);
    connection.await.unwrap().unwrap();

    let one = authority.connect(&house, "http/1.1").await.unwrap();
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(one)).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = Request::post(SERVER_INFO)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, WEB)
        .body(body)
        .unwrap();
    let answer = sender.send_request(call).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.windows(13).any(|part| part == b"grpc-status:0"), "{body:?}");
    drop(sender);
    connection.await.unwrap().unwrap();

    assert!(authority.connect(&house, "spdy/3").await.is_err(), "no other protocol is spoken");
}

#[tokio::test]
async fn a_caller_shows_a_certificate_where_one_is_required() {
    let (authority, callers) = (Authority::new(), Authority::new());
    let plan = |auth: &str| {
        let config = format!("listen.tls.client_ca = \"callers.pem\"\n{auth}");
        authority.house().config(&config).file("callers.pem", callers.pem())
    };
    let with = |house: &House, signer: &Authority| {
        let own = signer.sign();
        let url = format!("https://{}", house.address);
        let builder = Client::builder().url(url).ca_certificate(authority.pem());
        builder.identity(own.certificate, own.key).build().unwrap()
    };

    let required = plan("").start();
    assert!(with(&required, &callers).server_info().await.is_ok());
    assert!(client(&required, &authority).server_info().await.is_err(), "no certificate");
    assert!(with(&required, &authority).server_info().await.is_err(), "of another authority");

    let optional = plan("listen.tls.client_auth = \"optional\"").start();
    assert!(with(&optional, &callers).server_info().await.is_ok());
    assert!(client(&optional, &authority).server_info().await.is_ok());
    assert!(with(&optional, &authority).server_info().await.is_err(), "of another authority");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_newcomers_and_disturbs_nobody() {
    let authority = Authority::new();
    let house = authority.house().start();
    let open = client(&house, &authority);
    let mut request = question("sandbox-text", "say hello");
    let options = r#"{"tokens": 100, "tokens_per_second": 20}"#;
    request.parameters.provider_options_json =
        [("sandbox".to_owned(), options.to_owned())].into_iter().collect();
    let mut running = open.stream(request).await.unwrap();
    running.next().await.unwrap().unwrap();
    let first = shown(&authority.connect(&house, "h2").await.unwrap());

    // By a signal.
    let second = authority.sign();
    house.rewrite("server.key", &second.key);
    house.rewrite("server.pem", &second.certificate);
    house.signal("HUP");
    house.wait_for_log("read the certificate of listen.tls again");
    let now = shown(&authority.connect(&house, "h2").await.unwrap());
    assert_eq!(now, first_of(&second.certificate));
    assert_ne!(now, first);

    // A bad file changes nothing.
    house.rewrite("server.pem", "-----BEGIN CERTIFICATE-----\nbroken\n");
    house.signal("HUP");
    house.wait_for_log("the certificate stays as it was: listen.tls.certificate");
    assert_eq!(shown(&authority.connect(&house, "h2").await.unwrap()), now);

    // By itself, once the files have changed.
    let third = authority.sign();
    house.rewrite("server.key", &third.key);
    house.rewrite("server.pem", &third.certificate);
    let begin = Instant::now();
    while shown(&authority.connect(&house, "h2").await.unwrap()) != first_of(&third.certificate) {
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut finished = false;
    while let Some(event) = running.next().await {
        finished |= matches!(event.unwrap().kind, Some(Kind::Finished(_)));
    }
    assert!(finished, "an open stream goes on");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_let_go_in_time() {
    let authority = Authority::new();
    let house = authority.house().config("listen.handshake_timeout = \"300ms\"").start();
    // Nothing; half a ClientHello; one that comes byte by byte.
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    for (start, drips) in [(&hello[..0], false), (&hello[..], false), (&hello[..4], true)] {
        let mut peer = TcpStream::connect(&house.address).await.unwrap();
        peer.write_all(start).await.unwrap();
        let begin = Instant::now();
        let (mut reads, mut writes) = peer.split();
        let drip = async {
            while drips && writes.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut rest = Vec::new();
        tokio::select! {
            closed = timeout(Duration::from_secs(5), reads.read_to_end(&mut rest)) => {
                assert!(closed.is_ok(), "{start:?} still holds its connection");
            }
            () = drip => {}
        }
        assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    }
    // The handshake is done, and nothing follows.
    let mut mute = authority.connect(&house, "h2").await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), mute.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a peer that only shakes hands holds its connection");
    assert!(client(&house, &authority).server_info().await.is_ok());
}

#[test]
fn what_is_wrong_with_the_files_names_the_setting_and_the_file() {
    let (one, other) = (Authority::new().sign(), Authority::new().sign());
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("one.pem", one.certificate.as_str()),
        ("one.key", &one.key),
        ("other.key", &other.key),
        ("text.pem", "no certificate"),
    ] {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    for (tls, problem) in [
        ("certificate = 'one.pem'", "listen.tls.certificate: needs listen.tls.key as well"),
        ("key = 'one.key'", "listen.tls.key: needs listen.tls.certificate as well"),
        ("certificate = 'one.pem'\nkey = 'nowhere.key'", "nowhere.key cannot be read"),
        ("certificate = 'text.pem'\nkey = 'one.key'", "text.pem holds no certificate in PEM"),
        ("certificate = 'one.pem'\nkey = 'one.pem'", "one.pem holds no private key in PEM"),
        (
            "certificate = 'one.pem'\nkey = 'one.key'\nclient_auth = 'required'",
            "listen.tls.client_auth: needs listen.tls.client_ca as well",
        ),
        ("certificate = 'one.pem'\nkey = 'other.key'", "listen.tls.key: "),
        ("certificate = 'one.pem'\nkey = 'other.key'", "is not the key of "),
    ] {
        std::fs::write(folder.path().join("mediary.toml"), format!("[listen.tls]\n{tls}\n"))
            .unwrap();
        let ran = run(folder.path(), &[], &["serve", "--check"], "");
        assert_eq!(ran.code, 2, "{tls}: {}", ran.stdout);
        assert!(ran.stderr.contains(problem), "{tls}: {}", ran.stderr);
    }

    let public = "[listen]\naddress = '0.0.0.0:1'\n[listen.tls]\n";
    let sound = format!("{public}certificate = 'one.pem'\nkey = 'one.key'\n");
    std::fs::write(folder.path().join("mediary.toml"), sound).unwrap();
    let ran = run(folder.path(), &[], &["serve", "--check"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
