//! Signatures by Standard Webhooks 1.0 (standardwebhooks.com): the receiver knows who sent it and when.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::secret::{Secret, SecretError, SecretSource};

const PREFIX: &str = "whsec_";
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a signing secret is of no use. It names no part of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Unreadable(#[from] SecretError),
    #[error("there is no signing secret in it")]
    Empty,
    #[error("a signing secret starts with {PREFIX}, followed by base64")]
    Form,
    #[error("a signing secret is base64 of 24 to 64 bytes, this one of {0}")]
    Length(usize),
}

/// A key to sign with. It is not printed.
pub struct Key(Vec<u8>);

/// The keys in a source: one, or several apart by white space while a key is rotated.
pub fn keys(source: &SecretSource) -> Result<Vec<Key>, KeyError> {
    let secret = source.read()?;
    let keys: Vec<Key> = secret.expose().split_ascii_whitespace().map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::Empty) } else { Ok(keys) }
}

fn key(text: &str) -> Result<Key, KeyError> {
    let encoded = text.strip_prefix(PREFIX).ok_or(KeyError::Form)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
    if LENGTHS.contains(&bytes.len()) { Ok(Key(bytes)) } else { Err(KeyError::Length(bytes.len())) }
}

/// The header `webhook-signature`: one `v1,` signature of `id.timestamp.body` for each key, apart by spaces.
/// `timestamp` is in Unix seconds.
pub fn signature(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> Secret {
    let signatures = keys.iter().filter_map(|Key(key)| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?; // a key of any length is taken
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
    });
    Secret::new(signatures.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SecretSource {
        SecretSource::Value(Secret::new(text))
    }

    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        // The test vector of the reference libraries (standard-webhooks, libraries/*/webhook tests).
        let keys = keys(&source("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signed = signature(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.expose(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_key_signs_while_they_are_rotated() {
        let two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        let signed = signature(&keys(&source(two)).unwrap(), "msg_1", 1, b"{}");
        assert_eq!(signed.expose().split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for (text, message) in [
            ("", "there is no signing secret in it"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a signing secret starts with whsec_, followed by base64"),
            ("whsec_!!", "a signing secret starts with whsec_, followed by base64"),
            ("whsec_AAEC", "a signing secret is base64 of 24 to 64 bytes, this one of 3"),
        ] {
            assert_eq!(keys(&source(text)).err().unwrap().to_string(), message);
        }
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        assert!(keys(&source(&long)).is_err());
    }
}
