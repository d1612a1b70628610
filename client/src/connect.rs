//! Sets up the connection: address, key, TLS and time limits.
//!
//! Leaves the calls to `client`. Nothing is dialled before the first call.

use std::{fmt, fs, path::Path, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    Client, Error, Result,
    profile::{Place, Wish},
};

/// Where a server listens unless it is told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8484";

/// What generated stubs call through: the channel with the caller's key on every request.
pub type Transport = InterceptedService<Channel, Bearer>;

/// Puts `authorization: Bearer <key>` on every call when there is a key.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

/// How long the client waits before it gives up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) unary: Duration,
    pub(crate) generate: Duration,
    pub(crate) idle: Duration,
}

/// Makes a [`Client`]. Everything has a default.
#[must_use]
pub struct Builder {
    url: String,
    api_key: Option<String>,
    ca_certificate: Option<Certificate>,
    identity: Option<Identity>,
    connect_timeout: Duration,
    limits: Limits,
}

impl Default for Builder {
    fn default() -> Self {
        let limits = Limits {
            unary: Duration::from_secs(60),
            generate: Duration::from_secs(600),
            idle: Duration::from_secs(120),
        };
        Self {
            url: DEFAULT_URL.to_owned(),
            api_key: None,
            ca_certificate: None,
            identity: None,
            connect_timeout: Duration::from_secs(5),
            limits,
        }
    }
}

impl Builder {
    /// The default set-up, with `MEDIARY_URL`, `MEDIARY_API_KEY` and `MEDIARY_CA` where they are set,
    /// and for the rest the profile that `MEDIARY_PROFILE` or the profiles file chooses.
    pub fn from_env() -> Result<Self> {
        Self::at(&Place::settle(Wish::default())?)
    }

    pub(crate) fn at(place: &Place) -> Result<Self> {
        let builder = Self::default().url(&place.url).maybe_api_key(place.api_key.clone());
        match &place.ca {
            Some(file) => builder.ca_file(file),
            None => Ok(builder),
        }
    }

    /// Address of the server, `http://` or `https://`; without either, `http://` is meant.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// Key of the caller. Empty = none is sent.
    pub fn api_key(self, key: impl Into<String>) -> Self {
        self.maybe_api_key(Some(key.into()))
    }

    /// Key of the caller, where there may be none.
    pub fn maybe_api_key(mut self, key: Option<String>) -> Self {
        self.api_key = key.filter(|key| !key.is_empty());
        self
    }

    /// Certificates in PEM that may have signed the server's, instead of those that everybody
    /// trusts: for a server whose certificate is your own.
    pub fn ca_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca_certificate = Some(Certificate::from_pem(pem));
        self
    }

    /// The same from a file.
    pub fn ca_file(self, path: &Path) -> Result<Self> {
        let pem = fs::read(path)
            .map_err(|error| Error::setup(format!("{} cannot be read: {error}", path.display())))?;
        Ok(self.ca_certificate(pem))
    }

    /// Certificate and private key of the caller in PEM, for a server that asks for them (mTLS).
    pub fn identity(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.identity = Some(Identity::from_pem(certificate, key));
        self
    }

    /// Longest wait for a connection. 5 seconds unless set.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Longest wait for lists and look-ups. 60 seconds unless set.
    pub fn unary_timeout(mut self, limit: Duration) -> Self {
        self.limits.unary = limit;
        self
    }

    /// Longest wait for an answer in one message. 10 minutes unless set, the most a server allows.
    pub fn generate_timeout(mut self, limit: Duration) -> Self {
        self.limits.generate = limit;
        self
    }

    /// Longest silence between two events of a stream, heartbeats included. 2 minutes unless set.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.limits.idle = limit;
        self
    }

    /// The client. Call it inside a Tokio runtime.
    pub fn build(self) -> Result<Client> {
        let channel = self.endpoint()?.connect_lazy();
        let bearer = Bearer::new(self.api_key.as_deref())?;
        Ok(Client::new(InterceptedService::new(channel, bearer), self.limits))
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let url = if self.url.contains("://") {
            self.url.clone()
        } else {
            format!("http://{}", self.url)
        };
        let wrong = |why: &str| Error::setup(format!("`{url}` cannot be the server: {why}"));

        let endpoint =
            Endpoint::from_shared(url.clone()).map_err(|_| wrong("it is not an address"))?;
        let uri = endpoint.uri();
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("it names no host"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("gRPC takes no path"));
        }
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let endpoint = endpoint
            .user_agent(concat!("mediary-rust/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Error::setup(error.to_string()))?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true);
        if !secure {
            return Ok(endpoint);
        }
        let tls = ClientTlsConfig::new().timeout(self.connect_timeout);
        let tls = match self.ca_certificate.clone() {
            Some(certificate) => tls.ca_certificate(certificate),
            None => tls.with_webpki_roots(),
        };
        let tls = match self.identity.clone() {
            Some(identity) => tls.identity(identity),
            None => tls,
        };
        endpoint.tls_config(tls).map_err(|error| Error::setup(error.to_string()))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.api_key.as_ref().map(|_| "***");
        f.debug_struct("Builder").field("url", &self.url).field("api_key", &key).finish()
    }
}

impl Bearer {
    fn new(key: Option<&str>) -> Result<Self> {
        let Some(key) = key else { return Ok(Self(None)) };
        let mut value = format!("Bearer {key}")
            .parse::<MetadataValue<Ascii>>()
            .map_err(|_| Error::setup("the key has characters that cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bearer").field(&self.0.as_ref().map(|_| "***")).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_may_leave_out_the_scheme() {
        assert!(Client::builder().url("127.0.0.1:8484").build().is_ok());
        assert!(Client::builder().url("https://mediary.example/").build().is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_a_server_is_refused_at_once() {
        for url in ["ftp://host", "http://", "http://host/grpc", "http://a b"] {
            let error = Client::builder().url(url).build().expect_err(url);
            assert!(matches!(error, Error::Setup(_)), "{url}: {error:?}");
        }
        assert!(Client::builder().api_key("two\nlines").build().is_err());
    }

    #[test]
    fn a_key_is_never_printed() {
        let builder = Builder::default().api_key("med_secret");
        let bearer = Bearer::new(Some("med_secret")).expect("a plain key");
        assert!(!format!("{builder:?}{bearer:?}").contains("secret"));
    }
}
