//! The credential a permitted session uses upstream.
//!
//! Owns: the lease, the only thing that may go into an upstream `Authorization` header.
//! May touch: model.
//! Never: decides who gets one; that is the policy's.
//!
//! There is one kind of lease so far: the credential that the job itself presented, passed on. It is a type of its
//! own so that what sends a request upstream must hold one, whoever's credential it is.

use model::Secret;

/// The right to speak upstream with one credential, for one exchange.
#[derive(Debug)]
pub struct Lease {
    authorization: Option<Secret<String>>,
}

impl Lease {
    /// Passes on what the job presented: the value of its `Authorization` header, or nothing where the credential
    /// travels in the body, as it does at login.
    #[must_use]
    pub fn own(authorization: Option<Secret<String>>) -> Self {
        Self { authorization }
    }

    /// The value of the `Authorization` header to send, if one is sent.
    #[must_use]
    pub fn authorization(&self) -> Option<&Secret<String>> {
        self.authorization.as_ref()
    }
}
