//! What a statement does beside reading and changing the objects it names.

/// One such thing. Each has a word of its own, in which rules and records speak of it; see [`Effect::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Rows go into files of a stage.
    UnloadStage,
    /// Rows go into files at a URL.
    UnloadUrl,
    /// Something is shared with another account, or that is changed.
    Share,
    /// Code or a table gets a way out of Snowflake: integrations, network rules, external functions and volumes.
    ExternalAccess,
    /// Who may do what is changed.
    Grant,
    /// A masking, row access, network, password or other policy is made, changed, put on or taken off.
    PolicyChange,
    /// A tag is made, changed, put on or taken off.
    TagChange,
    /// The text holds a password, key or token.
    CredentialInText,
    /// A credential comes into being, or the right to use one: a new user, a password, a key, a token, a URL that opens
    /// files to whoever holds it.
    MintsCredential,
    /// Rows are read as they were at an earlier time.
    TimeTravel,
    /// An object is copied with its rows.
    Clone,
    /// Rows of an earlier result are read.
    ResultScan,
    /// Text is run that is computed.
    Dynamic,
}

impl Effect {
    /// Every effect, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::UnloadStage,
        Self::UnloadUrl,
        Self::Share,
        Self::ExternalAccess,
        Self::Grant,
        Self::PolicyChange,
        Self::TagChange,
        Self::CredentialInText,
        Self::MintsCredential,
        Self::TimeTravel,
        Self::Clone,
        Self::ResultScan,
        Self::Dynamic,
    ];

    /// The word used in rules, records and output: `unload-stage`, `mints-credential`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnloadStage => "unload-stage",
            Self::UnloadUrl => "unload-url",
            Self::Share => "share",
            Self::ExternalAccess => "external-access",
            Self::Grant => "grant",
            Self::PolicyChange => "policy-change",
            Self::TagChange => "tag-change",
            Self::CredentialInText => "credential-in-text",
            Self::MintsCredential => "mints-credential",
            Self::TimeTravel => "time-travel",
            Self::Clone => "clone",
            Self::ResultScan => "result-scan",
            Self::Dynamic => "dynamic",
        }
    }
}
