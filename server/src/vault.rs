//! Keys of providers: sealed for the store, opened for the registry, and told apart.
//!
//! Owns: sealing and opening with the key of the configuration, fingerprints and hints, and what an
//! account may name as the place of its key (`readable`). Leaves: keeping what is sealed (the
//! store), which account it belongs to (`registry`).
//! Invariant: what was sealed for one record opens for no other.

mod readable;
mod reseal;

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use mediary_domain::{Error, Kind, Result};
use mediary_store::Sealed;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use self::{
    readable::{Readable, Reference},
    reseal::reseal,
};
use crate::{
    clock::Clock,
    config::{Secret, VaultSection},
};

/// First byte of what is sealed; another layout gets another.
const LAYOUT: u8 = 1;
const NONCE_BYTES: usize = 12;
/// Shorter secrets show nothing of themselves.
const SHORTEST_WITH_HINT: usize = 16;
const HINT: usize = 4;

/// Seals with the present key and opens with the present and the former one.
pub struct Vault {
    present: Option<SealingKey>,
    former: Option<SealingKey>,
    fingerprints: Zeroizing<[u8; 32]>,
    clock: Clock,
}

struct SealingKey {
    id: String,
    cipher: Aes256Gcm,
}

impl Vault {
    /// `salt` is the store's own: fingerprints are keyed with it where there is no sealing key.
    pub fn new(section: &VaultSection, salt: &[u8; 32], clock: Clock) -> Self {
        let bytes = |key: &Option<Secret>| key.as_ref().and_then(Secret::sealing_bytes);
        let (present, former) = (bytes(&section.key), bytes(&section.former_key));
        let fingerprints =
            keyed_hash(present.as_deref().unwrap_or(salt), b"mediary fingerprints 1");
        Self {
            present: present.map(|key| SealingKey::new(&key)),
            former: former.map(|key| SealingKey::new(&key)),
            fingerprints: Zeroizing::new(fingerprints),
            clock,
        }
    }

    /// Seals the secret of `record`.
    pub fn seal(&self, record: &str, secret: &Secret) -> Result<Sealed> {
        let key = self.present.as_ref().ok_or_else(|| {
            Error::new(
                Kind::FeatureDisabled,
                "this server keeps no keys: set MEDIARY__VAULT__KEY to what `openssl rand -base64 \
                 32` prints and start it again, or send secret_ref, where the server reads the key",
            )
        })?;
        let mut nonce = [0; NONCE_BYTES];
        self.clock.fill(&mut nonce);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: record.as_bytes() };
        let sealed = key.cipher.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::bug("a secret cannot be sealed"))?;
        let bytes = [&[LAYOUT], nonce.as_slice(), &sealed].concat();
        Ok(Sealed { key_id: key.id.clone(), bytes })
    }

    /// The secret of `record`, or why it cannot be had.
    pub fn open(&self, record: &str, sealed: &Sealed) -> Result<Secret, String> {
        let keys = [&self.present, &self.former].into_iter().flatten();
        let key = keys.into_iter().find(|key| key.id == sealed.key_id).ok_or_else(|| {
            let id = &sealed.key_id;
            format!(
                "its key was sealed by the vault key {id}, which this server does not have: set it \
                 as vault.former_key, or send the account's key again"
            )
        })?;
        let damaged = || "its sealed key is damaged: send it again".to_owned();
        let rest = sealed.bytes.strip_prefix(&[LAYOUT]).ok_or_else(damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let payload = Payload { msg: sealed, aad: record.as_bytes() };
        let clear = key.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| damaged())?;
        match String::from_utf8(clear) {
            Ok(text) => Ok(Secret::new(text)),
            Err(wrong) => {
                drop(Zeroizing::new(wrong.into_bytes()));
                Err(damaged())
            }
        }
    }

    /// Whether it was sealed by the former key and can be sealed anew.
    fn is_stale(&self, sealed: &Sealed) -> bool {
        let by = |key: &Option<SealingKey>| key.as_ref().is_some_and(|key| key.id == sealed.key_id);
        self.present.is_some() && by(&self.former) && !by(&self.present)
    }

    /// Tells equal secrets from different ones, and nothing else.
    pub fn fingerprint(&self, secret: &Secret) -> String {
        hex(&keyed_hash(&self.fingerprints, secret.expose().as_bytes())[..16])
    }
}

impl SealingKey {
    fn new(key: &[u8; 32]) -> Self {
        Self { id: hex(&Sha256::digest(key)[..8]), cipher: Aes256Gcm::new(key.into()) }
    }
}

/// The last characters of a secret; none where they would be too much of it.
pub fn hint(secret: &Secret) -> String {
    let text = secret.expose();
    if text.chars().count() < SHORTEST_WITH_HINT {
        return String::new();
    }
    let last: Vec<char> = text.chars().rev().take(HINT).collect();
    last.into_iter().rev().collect()
}

fn keyed_hash(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    // A shorter key is filled up with zeros: that is how HMAC takes it.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mac = Hmac::<Sha256>::new(&(*block).into());
    mac.chain_update(text).finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

    use super::*;

    fn vault(key: Option<u8>, former: Option<u8>) -> Vault {
        let [key, former_key] =
            [key, former].map(|one| one.map(|byte| Secret::new(BASE64.encode([byte; 32]))));
        let section = VaultSection { key, former_key, ..VaultSection::default() };
        Vault::new(&section, &[9; 32], Clock::system())
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_is_sealed_opens_for_its_record_alone() {
        let vault = vault(Some(1), None);
        let sealed = vault.seal("accounts/a", &secret("sk-12345")).unwrap();
        assert_eq!(vault.open("accounts/a", &sealed).unwrap().expose(), "sk-12345");
        assert!(vault.open("accounts/b", &sealed).unwrap_err().contains("damaged"));
        let again = vault.seal("accounts/a", &secret("sk-12345")).unwrap();
        assert_ne!(sealed.bytes, again.bytes);
        for at in 0..sealed.bytes.len() {
            let mut bent = sealed.clone();
            bent.bytes[at] ^= 1;
            assert!(vault.open("accounts/a", &bent).is_err(), "{at}");
            bent.bytes.truncate(at);
            assert!(vault.open("accounts/a", &bent).is_err(), "{at}");
        }
    }

    #[test]
    fn the_former_key_opens_and_seals_nothing() {
        let sealed = vault(Some(1), None).seal("accounts/a", &secret("sk")).unwrap();
        let later = vault(Some(2), Some(1));
        assert!(later.is_stale(&sealed));
        assert_eq!(later.open("accounts/a", &sealed).unwrap().expose(), "sk");
        let anew = later.seal("accounts/a", &secret("sk")).unwrap();
        assert!(!later.is_stale(&anew) && anew.key_id != sealed.key_id);
        let problem = vault(Some(3), None).open("accounts/a", &sealed).unwrap_err();
        assert!(problem.contains(&sealed.key_id), "{problem}");
        let refused = vault(None, Some(1)).seal("accounts/a", &secret("sk")).unwrap_err();
        assert_eq!(refused.kind(), Kind::FeatureDisabled);
    }

    #[test]
    fn fingerprints_tell_secrets_apart_and_hints_show_little() {
        let (one, other) = (vault(Some(1), None), vault(Some(2), None));
        let same = |text: &str| one.fingerprint(&secret(text)) == one.fingerprint(&secret("sk"));
        assert!(same("sk") && !same("sk2"));
        assert_ne!(one.fingerprint(&secret("sk")), other.fingerprint(&secret("sk")));
        assert_eq!(vault(None, None).fingerprint(&secret("sk")).len(), 32);
        assert_eq!(hint(&secret("0123456789abcdef")), "cdef");
        assert_eq!(hint(&secret("0123456789abcde")), "");
    }
}
