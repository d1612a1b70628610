//! The files of TLS: named together, there, and PEM of the right kind.
//!
//! Leaves: whether key and certificate belong together, and reading them again (`listener/tls`).

use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use super::{
    draft::{Draft, Part, dotted},
    sections::TlsSection,
};

/// Where they are, with relative paths made to start at the right folder.
#[derive(Default)]
pub(super) struct Files {
    pub(super) certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
}

impl Files {
    pub(super) fn place(self, section: &mut TlsSection) {
        section.certificate = self.certificate;
        section.key = self.key;
        section.client_ca = self.client_ca;
    }
}

/// Reports what is wrong with the section at `table`.
pub(super) fn check(draft: &mut Draft, table: &str) -> Files {
    let certificates = |path: &PathBuf| match CertificateDer::pem_file_iter(path) {
        Ok(mut found) => found.next().unwrap_or(Err(pem::Error::NoItemsFound)).map(drop),
        Err(error) => Err(error),
    };
    let files = Files {
        certificate: file(draft, table, "certificate", certificates),
        key: file(draft, table, "key", |path| PrivateKeyDer::from_pem_file(path).map(drop)),
        client_ca: file(draft, table, "client_ca", certificates),
    };
    together(draft, table, "certificate", "key");
    together(draft, table, "key", "certificate");
    together(draft, table, "client_ca", "certificate");
    if draft.text_at(&format!("{table}/client_auth")).is_some_and(|word| word != "none") {
        together(draft, table, "client_auth", "client_ca");
    }
    files
}

fn file(
    draft: &mut Draft,
    table: &str,
    name: &str,
    read: impl Fn(&PathBuf) -> Result<(), pem::Error>,
) -> Option<PathBuf> {
    let pointer = format!("{table}/{name}");
    let path = draft.folder(&pointer).join(draft.text_at(&pointer)?);
    if let Err(error) = read(&path) {
        let file = path.display();
        let message = match (error, name) {
            (pem::Error::Io(error), _) => format!("{file} cannot be read: {error}"),
            (pem::Error::NoItemsFound, "key") => format!("{file} holds no private key in PEM"),
            (pem::Error::NoItemsFound, _) => format!("{file} holds no certificate in PEM"),
            _ => format!("{file} is no PEM"),
        };
        draft.report(&pointer, Part::Value, message, None);
    }
    Some(path)
}

/// `name` is nothing without `other`.
fn together(draft: &mut Draft, table: &str, name: &str, other: &str) {
    let (one, two) = (format!("{table}/{name}"), format!("{table}/{other}"));
    if draft.text_at(&one).is_some() && draft.text_at(&two).is_none() {
        let message = format!("needs {} as well", dotted(&two));
        draft.report(&one, Part::Value, message, None);
    }
}
