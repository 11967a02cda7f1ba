//! Signatures as [Standard Webhooks](https://www.standardwebhooks.com) has them, so that receivers find a library that checks them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";

/// The key of a webhook's signatures, as its receiver has it too. It is not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// 256 fresh random bits.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(key))))
    }

    /// One that the store holds.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text that its receiver needs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The header `webhook-signature` of a message that is sent at `timestamp`, in seconds since the Unix epoch; `None` if this is no secret.
    pub(crate) fn sign(&self, message_id: &str, timestamp: i64, body: &str) -> Option<String> {
        let key = STANDARD.decode(self.0.strip_prefix(PREFIX)?).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{message_id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // By `openssl dgst -sha256 -mac HMAC -macopt hexkey:$(echo MfKQ… | base64 -d | xxd -p)` over `msg_p5jX….1614265330.{"test": 2432232314}`.
    #[test]
    fn a_signature_is_what_openssl_comes_to() {
        let secret = WebhookSecret::stored("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_331, r#"{"test": 2432232314}"#).unwrap(), signature);
    }

    #[test]
    fn a_secret_has_256_bits_and_does_not_show() {
        let (one, other) = (WebhookSecret::random().unwrap(), WebhookSecret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one.expose().strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
        assert_eq!(format!("{one:?}"), "WebhookSecret(…)");
        assert_eq!(WebhookSecret::stored("ty_no".to_owned()).sign("a", 0, "b"), None);
    }
}
