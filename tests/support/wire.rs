//! Raw HTTP: what browsers, foreign clients and broken ones send, and exactly what comes back.
//!
//! Knows gRPC and both kinds of grpc-web by their bytes, and nothing of our client.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

use super::House;

pub const GRPC: &str = "application/grpc";
pub const WEB: &str = "application/grpc-web+proto";
pub const WEB_TEXT: &str = "application/grpc-web-text";

/// A connection to a server, as plain as can be.
pub struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    is_http1: bool,
}

/// A call to send. Headers may be added to it.
pub type Call = Request<Full<Bytes>>;

impl Wire {
    pub fn http1(house: &House) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: house.url(), is_http1: true }
    }

    /// HTTP/2 by prior knowledge, as gRPC does it.
    pub fn http2(house: &House) -> Self {
        Self::http2_at(&house.address)
    }

    /// The same to another listener of a server.
    pub fn http2_at(address: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { client, url: format!("http://{address}"), is_http1: false }
    }

    pub fn is_http1(&self) -> bool {
        self.is_http1
    }

    /// A call of any content type with one message in it.
    pub fn call(&self, content_type: &str, path: &str, message: &impl Message) -> Call {
        self.call_of_bytes(content_type, path, &frame(&message.encode_to_vec()))
    }

    /// The same with a body that may be no message at all.
    pub fn call_of_bytes(&self, content_type: &str, path: &str, body: &[u8]) -> Call {
        let body = match content_type {
            WEB_TEXT => Bytes::from(BASE64.encode(body)),
            _ => Bytes::copy_from_slice(body),
        };
        let mut call = Request::post(format!("{}{path}", self.url));
        let headers = call.headers_mut().unwrap();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        if content_type == GRPC {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            // What it accepts decides in which kind it is answered.
            headers.insert(header::ACCEPT, HeaderValue::from_str(content_type).unwrap());
            headers.insert("x-grpc-web", HeaderValue::from_static("1"));
        }
        call.body(Full::new(body)).unwrap()
    }

    /// A request without a body.
    pub fn bare(&self, method: Method, path: &str) -> Call {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        request.body(Full::default()).unwrap()
    }

    /// Sends it and waits for the head of the answer.
    pub async fn send(&self, call: Call) -> Response<Incoming> {
        self.client.request(call).await.expect("an answer")
    }

    /// Sends it and reads the answer to its end.
    pub async fn ask(&self, call: Call) -> Answer {
        let response = self.send(call).await;
        let mut listener = Listener::new(response);
        while listener.next().await.is_some() {}
        listener.answer()
    }
}

/// Adds a header to a call.
pub fn with(mut call: Call, name: &'static str, value: &str) -> Call {
    let value = HeaderValue::from_str(value).unwrap();
    call.headers_mut().insert(HeaderName::from_static(name), value);
    call
}

/// A message as it stands in the body: no compression, its length, its bytes.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub http: StatusCode,
    pub headers: HeaderMap,
    pub messages: Vec<Bytes>,
    /// The frames 0x80 of grpc-web, as they were sent.
    pub trailer_frames: Vec<String>,
    /// From the head, the trailers or the trailer frame; `None` = there was no status at all.
    pub status: Option<Status>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn code(&self) -> Code {
        self.status.as_ref().unwrap_or_else(|| panic!("no status: {self:?}")).code()
    }

    /// The one `ErrorInfo` of the failure: reason, domain and facts.
    pub fn info(&self) -> tonic_types::ErrorInfo {
        info(self.status.as_ref().expect("a status"))
    }

    pub fn reason(&self) -> String {
        self.info().reason
    }
}

/// The one `ErrorInfo` of a status.
pub fn info(status: &Status) -> tonic_types::ErrorInfo {
    let details = status.check_error_details_vec().expect("details that can be read");
    let mut infos = details.into_iter().filter_map(|detail| match detail {
        ErrorDetail::ErrorInfo(info) => Some(info),
        _ => None,
    });
    let first = infos.next().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert!(infos.next().is_none(), "more than one ErrorInfo: {status:?}");
    first
}

/// Reads an answer piece by piece.
pub struct Listener {
    head: http::response::Parts,
    body: Incoming,
    is_web: bool,
    is_text: bool,
    text: BytesMut,
    buffer: BytesMut,
    messages: Vec<Bytes>,
    trailer_frames: Vec<String>,
    trailers: Option<HeaderMap>,
}

impl Listener {
    pub fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let is = |kind: &str| {
            content_type.is_some_and(|value| value.as_bytes().starts_with(kind.as_bytes()))
        };
        let (is_web, is_text) = (is("application/grpc-web"), is(WEB_TEXT));
        Self {
            head,
            body,
            is_web,
            is_text,
            text: BytesMut::new(),
            buffer: BytesMut::new(),
            messages: Vec::new(),
            trailer_frames: Vec::new(),
            trailers: None,
        }
    }

    /// Waits for the next piece of the body; the messages that are complete with it, which may be
    /// none. `None` = the body is over.
    pub async fn next(&mut self) -> Option<Vec<Bytes>> {
        let piece = self.body.frame().await?.expect("the body is whole");
        match piece.into_data() {
            Ok(data) => Some(self.take(&data)),
            Err(piece) => {
                assert!(!self.is_web, "browsers cannot read HTTP trailers");
                self.trailers = Some(piece.into_trailers().expect("data or trailers"));
                Some(Vec::new())
            }
        }
    }

    fn take(&mut self, data: &[u8]) -> Vec<Bytes> {
        if self.is_text {
            // Each piece may be padded by itself: four letters at a time.
            self.text.extend_from_slice(data);
            while self.text.len() >= 4 {
                let bytes = BASE64.decode(self.text.split_to(4)).expect("base64");
                self.buffer.extend_from_slice(&bytes);
            }
        } else {
            self.buffer.extend_from_slice(data);
        }
        let mut complete = Vec::new();
        while let Some((flags, bytes)) = split_frame(&mut self.buffer) {
            assert!(self.trailer_frames.is_empty(), "something follows the trailer frame");
            match flags {
                0 => complete.push(bytes),
                0x80 => self.trailer_frames.push(String::from_utf8(bytes.to_vec()).unwrap()),
                other => panic!("a frame with flags {other:#x}"),
            }
        }
        self.messages.extend(complete.iter().cloned());
        complete
    }

    /// All that has come.
    pub fn answer(self) -> Answer {
        assert!(self.buffer.is_empty() && self.text.is_empty(), "the body ends within a frame");
        let framed = self.trailer_frames.first().map(|text| parse_trailers(text));
        let status = [Some(&self.head.headers), self.trailers.as_ref(), framed.as_ref()]
            .into_iter()
            .flatten()
            .find_map(Status::from_header_map);
        Answer {
            http: self.head.status,
            headers: self.head.headers,
            messages: self.messages,
            trailer_frames: self.trailer_frames,
            status,
        }
    }
}

fn split_frame(buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    let (flags, mut rest) = buffer.split_first()?;
    let flags = *flags;
    let length = rest.try_get_u32().ok()? as usize;
    if rest.len() < length {
        return None;
    }
    buffer.advance(5);
    Some((flags, buffer.split_to(length).freeze()))
}

fn parse_trailers(text: &str) -> HeaderMap {
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a header line");
            let value = HeaderValue::from_str(value.trim()).unwrap();
            (HeaderName::from_bytes(name.trim().as_bytes()).unwrap(), value)
        })
        .collect()
}
