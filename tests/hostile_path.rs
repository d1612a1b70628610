//! Addresses that mean harm: paths that are nearly those of a method, and names of the server that
//! are not its own.

mod support;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    House,
    wire::{GRPC, Listener, WEB, Wire, frame, with},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

const SERVER_INFO: &str = "/mediary.v1.ServerService/GetServerInfo";

#[tokio::test]
async fn a_path_is_a_method_to_the_letter_or_none() {
    let house = House::new();
    let sound = Wire::http2(&house);
    assert_eq!(sound.ask(sound.call(GRPC, SERVER_INFO, &())).await.code(), Code::Ok);
    for path in [
        "//mediary.v1.ServerService/GetServerInfo",
        "/mediary.v1.ServerService//GetServerInfo",
        "/mediary.v1.ServerService/GetServerInfo/",
        "/mediary.v1.ServerService/GetServerInfo//",
        "/mediary.v1.ServerService/GetServerInfo;v=1",
        "/mediary.v1.ServerService/getserverinfo",
        "/mediary.v1.serverservice/GetServerInfo",
        "/MEDIARY.V1.SERVERSERVICE/GETSERVERINFO",
        "/mediary%2ev1.ServerService/GetServerInfo",
        "/%6dediary.v1.ServerService/GetServerInfo",
        "/mediary.v1.ServerService%2fGetServerInfo",
        "/mediary.v1.ServerService/GetServer%49nfo",
        "/mediary.v1.ServerService/GetServerInfo%00",
        "/v1/../mediary.v1.ServerService/GetServerInfo",
        "/./mediary.v1.ServerService/GetServerInfo",
        "/mediary.v1.ServerService/./GetServerInfo",
        "/mediary.v1.TextService/../mediary.v1.ServerService/GetServerInfo",
        "/v1/mediary.v1.ServerService/GetServerInfo",
        "/mediary.admin.v1.ApiKeyService/../../mediary.v1.ServerService/GetServerInfo",
        "/grpc.health.v1.Health/Check/",
        "//grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Check%20",
    ] {
        for (wire, content_type) in
            [(Wire::http2(&house), GRPC), (Wire::http2(&house), WEB), (Wire::http1(&house), WEB)]
        {
            let answer = wire.ask(wire.call(content_type, path, &())).await;
            let what = format!("{path} {content_type} http1={}", wire.is_http1());
            assert_eq!(answer.code(), Code::Unimplemented, "{what}");
            assert_eq!(answer.reason(), "METHOD_DISABLED", "{what}");
            assert!(answer.messages.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn only_the_wires_of_grpc_reach_a_method() {
    let house = House::new();
    let (one, two) = (Wire::http1(&house), Wire::http2(&house));
    // gRPC needs HTTP/2.
    let over_http1 = one.send(one.call(GRPC, SERVER_INFO, &())).await;
    assert!(over_http1.status().is_client_error(), "{over_http1:?}");
    for (wire, method) in [(&one, "GET"), (&two, "GET"), (&one, "PUT"), (&two, "DELETE")] {
        for content_type in [GRPC, WEB] {
            let mut call = wire.call(content_type, SERVER_INFO, &());
            *call.method_mut() = method.parse().unwrap();
            let status = wire.send(call).await.status();
            // Plain gRPC over HTTP/1.1 is no call at all.
            assert!(status.is_client_error(), "{method} {content_type}: {status}");
        }
    }
    // What asks for another method by a header does not get it.
    let call = with(one.bare(http::Method::GET, SERVER_INFO), "x-http-method-override", "POST");
    assert_eq!(one.send(call).await.status(), StatusCode::NOT_FOUND);
    for path in ["/livez/", "//livez", "/LIVEZ", "/%6civez", "/livez/..", "/../livez"] {
        for wire in [&one, &two] {
            let answer = wire.send(wire.bare(http::Method::GET, path)).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}

/// One call over HTTP/2 with this `:authority`, and a `host` beside it if there is one.
async fn called(house: &House, authority: &str, host: Option<&str>) -> (Code, String) {
    let stream = TcpStream::connect(&house.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut call = Request::post(format!("http://{authority}{SERVER_INFO}"))
        .header(header::CONTENT_TYPE, GRPC)
        .header(header::TE, "trailers");
    if let Some(host) = host {
        call = call.header(header::HOST, host);
    }
    let call = call.body(Full::new(Bytes::from(frame(&[])))).unwrap();
    let mut listener = Listener::new(sender.send_request(call).await.unwrap());
    while listener.next().await.is_some() {}
    let answer = listener.answer();
    drop(sender);
    connection.await.unwrap().unwrap();
    match answer.code() {
        Code::Ok => (Code::Ok, String::new()),
        code => (code, answer.reason()),
    }
}

/// The status line of a plain request.
async fn status_of(house: &House, request: &str) -> String {
    let mut stream = TcpStream::connect(&house.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_page_whose_name_points_at_this_machine_reaches_nothing() {
    let house = House::new();
    let refused = (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED".to_owned());
    for name in [
        "evil.example",
        "evil.example:8484",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "evillocalhost",
        "0.0.0.0:8484",
        "192.168.1.1",
    ] {
        assert_eq!(called(&house, name, None).await, refused, "{name}");
        let get = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        assert_eq!(status_of(&house, &get).await, "HTTP/1.1 421 Misdirected Request", "{name}");
    }
    // One of two names is wrong.
    assert_eq!(called(&house, "localhost", Some("evil.example")).await, refused);
    let absolute =
        "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status_of(&house, absolute).await, "HTTP/1.1 421 Misdirected Request");
}

#[tokio::test]
async fn what_clients_call_this_machine_and_what_is_configured_is_let_in() {
    let house = House::plan()
        .config("listen.allowed_hosts = [\"mediary.internal\", \"proxy.internal:8443\"]")
        .config("server.public_base_uri = \"https://media.example.com:9443/api\"")
        .start();
    let port = house.address.rsplit_once(':').unwrap().1;
    for name in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        "localhost".to_owned(),
        "LOCALHOST:1".to_owned(),
        "127.0.0.1".to_owned(),
        "mediary.localhost".to_owned(),
        "mediary.internal".to_owned(),
        "mediary.internal:77".to_owned(),
        "proxy.internal:8443".to_owned(),
        "media.example.com".to_owned(),
        "Media.Example.Com:443".to_owned(),
    ] {
        assert_eq!(called(&house, &name, None).await.0, Code::Ok, "{name}");
        let get = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        assert_eq!(status_of(&house, &get).await, "HTTP/1.1 200 OK", "{name}");
    }
    // A host with a port is that port's alone.
    assert_eq!(called(&house, "proxy.internal:1", None).await.0, Code::PermissionDenied);
}

#[tokio::test]
async fn on_an_address_for_other_machines_any_name_is_the_servers_and_reflection_is_for_operators()
{
    let public = "listen.address = \"0.0.0.0:0\"\nlisten.allow_insecure_public = true\n";
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let asked = |house: &House| {
        let wire = Wire::http2(house);
        async move { wire.ask(wire.call(GRPC, reflection, &())).await.code() }
    };
    let closed = House::plan().config(public).start();
    assert_eq!(called(&closed, "media.example.com", None).await.0, Code::Ok);
    assert_eq!(asked(&closed).await, Code::PermissionDenied);
    let operators =
        House::plan().config(public).config("auth.anonymous_role = \"operator\"").start();
    assert_ne!(asked(&operators).await, Code::PermissionDenied);
    assert_ne!(asked(&House::new()).await, Code::PermissionDenied);
}
