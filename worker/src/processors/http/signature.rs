//! Signatures of Standard Webhooks (<https://www.standardwebhooks.com>): HMAC-SHA256 of `id.timestamp.body`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

/// Libraries print secrets with and without the padding at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The secrets that requests are signed with: one, or two during a rotation. They never show in a log.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<hmac::Key>);

/// Why a text is no [`Secrets`]. It never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error("must be one secret, or two separated by a space")]
    Number,
    #[error("must begin with `whsec_`")]
    Prefix,
    #[error("must have base64 after `whsec_`")]
    Encoding,
    #[error("must encode {} to {} random bytes", Secrets::BYTES_MIN, Secrets::BYTES_MAX)]
    Length,
}

impl Secrets {
    /// Bytes of the shortest secret that the specification takes.
    const BYTES_MIN: usize = 24;
    /// Bytes of the longest.
    const BYTES_MAX: usize = 64;

    /// The value of `webhook-signature`: a signature by each secret, separated by a space.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signed_with = |key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", BASE64.encode(context.sign()))
        };
        self.0.iter().map(signed_with).collect::<Vec<_>>().join(" ")
    }
}

impl FromStr for Secrets {
    type Err = SecretsError;

    fn from_str(text: &str) -> Result<Self, SecretsError> {
        let keys = text.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
        if (1..=2).contains(&keys.len()) { Ok(Self(keys)) } else { Err(SecretsError::Number) }
    }
}

fn key(text: &str) -> Result<hmac::Key, SecretsError> {
    let encoded = text.strip_prefix("whsec_").ok_or(SecretsError::Prefix)?;
    let bytes = BASE64.decode(encoded).map_err(|_| SecretsError::Encoding)?;
    if (Secrets::BYTES_MIN..=Secrets::BYTES_MAX).contains(&bytes.len()) {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    } else {
        Err(SecretsError::Length)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} not shown)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signed_by(secrets: &str) -> String {
        let secrets: Secrets = secrets.parse().unwrap();
        secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_published_vector_is_signed_as_published() {
        assert_eq!(signed_by(SECRET), SIGNATURE);
    }

    #[test]
    fn during_a_rotation_each_secret_signs() {
        let other = secret_of(64);

        let signed = signed_by(&format!(" {SECRET}\t{other}\n"));

        assert_eq!(signed, format!("{SIGNATURE} {}", signed_by(&other)));
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_in_base64_behind_its_prefix() {
        let three = [SECRET; 3].join(" ");
        for (text, error) in [
            (String::new(), SecretsError::Number),
            (three, SecretsError::Number),
            (SECRET.replace("whsec_", ""), SecretsError::Prefix),
            (SECRET.replace("Sw", "S!"), SecretsError::Encoding),
            (secret_of(23), SecretsError::Length),
            (secret_of(65), SecretsError::Length),
        ] {
            assert_eq!(text.parse::<Secrets>().err(), Some(error), "{text}");
        }
        for secret in [secret_of(24), secret_of(64), secret_of(64).replace('=', "")] {
            assert!(secret.parse::<Secrets>().is_ok(), "{secret}");
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        let secrets: Secrets = SECRET.parse().unwrap();

        assert_eq!(format!("{secrets:?}"), "Secrets(1 not shown)");
    }

    fn secret_of(bytes: usize) -> String {
        format!("whsec_{}", BASE64.encode(vec![7; bytes]))
    }
}
