//! Keys of apps, made anew for each run of the tests.

use std::sync::OnceLock;

use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::{RsaPrivateKey, rand_core::OsRng};

/// Both halves of a key, in PEM.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) private: String,
    pub(crate) public: String,
}

/// Two keys.
pub(crate) fn pairs() -> &'static [Pair; 2] {
    static PAIRS: OnceLock<[Pair; 2]> = OnceLock::new();
    PAIRS.get_or_init(|| [pair(), pair()])
}

fn pair() -> Pair {
    let key = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    Pair {
        private: key.to_pkcs1_pem(LineEnding::LF).unwrap().to_string(),
        public: key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap(),
    }
}
