//! All of a principal that rules and sentences can see. Nothing else of it reaches a judgement, so two principals that are
//! equal here are judged alike.

use identity::{Assurance, Principal};

use crate::entities::{groups, principal_attributes};

/// See above.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    /// The name used in rules and records.
    pub(crate) id: String,
    pub(crate) assurance: Assurance,
    /// Attributes of the schema's `Workload`, each of them that it has.
    pub(crate) attributes: Vec<(&'static str, String)>,
    /// `repository:acme/etl` and its like.
    pub(crate) groups: Vec<String>,
    /// Why nobody is known; only without assurance.
    pub(crate) unknown_because: Option<String>,
    /// What it takes to be verified; see [`Principal::advice`].
    pub(crate) advice: Option<&'static str>,
}

impl Who {
    pub(crate) fn new(principal: &Principal) -> Self {
        Self {
            id: principal.id(),
            assurance: principal.assurance(),
            attributes: principal_attributes(principal),
            groups: groups(principal),
            unknown_because: principal.reason().map(ToString::to_string),
            advice: principal.advice(),
        }
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|(_, value)| size_of::<(&str, String)>() + value.len());
        let groups = self.groups.iter().map(|group| size_of::<String>() + group.len());
        let texts = self.id.len() + self.unknown_because.as_ref().map_or(0, String::len);
        texts + attributes.chain(groups).sum::<usize>()
    }
}
