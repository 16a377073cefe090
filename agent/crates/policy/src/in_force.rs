//! The policies that count now, in a place where they can be replaced while others ask.

use std::sync::{Arc, PoisonError, RwLock};

use crate::Policies;

/// Whoever judges takes the policies from here each time; whoever reads them anew puts them here. An ask under way ends by
/// the policies that it began with.
#[derive(Debug)]
pub struct InForce(RwLock<Arc<Policies>>);

impl InForce {
    /// Puts the first ones in force.
    #[must_use]
    pub fn new(policies: Policies) -> Self {
        Self(RwLock::new(Arc::new(policies)))
    }

    /// The ones that count now.
    #[must_use]
    pub fn get(&self) -> Arc<Policies> {
        // A panic elsewhere cannot leave half a policy: it is replaced as a whole.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in their place. Every answer that was kept goes with the old ones.
    pub fn replace(&self, policies: Policies) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
    }
}
