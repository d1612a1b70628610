//! TLS of a listener, and certificates that change while it runs.
//!
//! Owns: the rustls configuration, made of files and made anew when they change. Leaves: whether
//! the files are there and are PEM (`config/certificates`), the time a handshake may take (`door`).
//! Invariant: a bad new file changes nothing; the old certificate stays until a good one comes.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        Error, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};
use tracing::{info, warn};

use crate::config::{ClientAuth, TlsSection};

/// How often the files are looked at.
const ROUND: Duration = Duration::from_secs(2);

/// What a listener encrypts with.
pub struct Tls {
    /// The section, as in `listen.tls`.
    name: &'static str,
    section: TlsSection,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// `None` = the section names no certificate.
    pub fn load(name: &'static str, section: &TlsSection) -> Result<Option<Self>, String> {
        let (Some(certificate), Some(key)) = (&section.certificate, &section.key) else {
            return Ok(None);
        };
        let current = ArcSwap::from_pointee(read(name, section, certificate, key)?);
        Ok(Some(Self { name, section: section.clone(), current }))
    }

    /// Handshakes from now on are made with the newest certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Reads the files again whenever they change or somebody asks. Never ends.
    pub async fn watch(&self, mut asked: watch::Receiver<()>) {
        let mut seen = self.state().await;
        loop {
            let is_asked = tokio::select! {
                Ok(()) = asked.changed() => true,
                () = tokio::time::sleep(ROUND) => false,
            };
            let now = self.state().await;
            if is_asked || now != seen {
                seen = now;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        let (name, section) = (self.name, &self.section);
        let (Some(certificate), Some(key)) = (&section.certificate, &section.key) else { return };
        match read(name, section, certificate, key) {
            Ok(new) => {
                self.current.store(Arc::new(new));
                info!(section = name, "read the certificate of {name} again");
            }
            Err(problem) => {
                warn!(section = name, "the certificate stays as it was: {problem}");
            }
        }
    }

    /// Differs once a file was written or another was put in its place.
    async fn state(&self) -> Vec<impl PartialEq + use<>> {
        let section = &self.section;
        let files = [&section.certificate, &section.key, &section.client_ca];
        let mut state = Vec::new();
        for path in files.into_iter().flatten() {
            let facts = tokio::fs::metadata(path).await;
            state.push(facts.ok().map(|facts| {
                use std::os::unix::fs::MetadataExt as _;
                (facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec())
            }));
        }
        state
    }
}

fn read(
    name: &str,
    section: &TlsSection,
    certificate: &Path,
    key: &Path,
) -> Result<ServerConfig, String> {
    let bad = |field: &str, path: &Path, error: &dyn std::fmt::Display| {
        format!("{name}.{field}: {}: {error}", path.display())
    };
    let chain =
        certificates(certificate).map_err(|error| bad("certificate", certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad("key", key, &error))?;
    // Named rather than taken from the process, where whoever comes first decides.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let asks = section.client_auth.unwrap_or(ClientAuth::Required) != ClientAuth::None;
    let builder = match &section.client_ca {
        Some(path) if asks => {
            let bad = |error: &dyn std::fmt::Display| bad("client_ca", path, error);
            let mut roots = RootCertStore::empty();
            for root in certificates(path).map_err(|error| bad(&error))? {
                roots.add(root).map_err(|error| bad(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match section.client_auth {
                Some(ClientAuth::Optional) => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| bad(&error))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut made = builder.with_single_cert(chain, private).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            let whose = format!("is not the key of {}", certificate.display());
            bad("key", key, &whose)
        }
        error => bad("certificate", certificate, &error),
    })?;
    made.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(made)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())
}
