//! The kinds of things that `CREATE`, `ALTER`, `DROP`, `SHOW`, `GRANT … ON` and their like speak of, by their words.
//! Source: Snowflake documentation, "SQL command reference".

use sqlparser::tokenizer::Token;

use crate::{Effect, ObjectKind, cursor::Cursor, upper::Upper};

/// What a name after such words names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Thing {
    /// What rows can be read from: tables, views, streams.
    Table,
    Schema,
    Database,
    Object(ObjectKind),
}

/// A kind of thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    words: &'static [&'static str],
    pub(crate) thing: Thing,
    /// Whether to make, change or drop one is administration: it belongs to the account, or decides who may do what or
    /// where data may go.
    pub(crate) is_administered: bool,
    /// What it means to make, change or drop one.
    pub(crate) effect: Option<Effect>,
}

impl Kind {
    /// Its words as people write them: `NETWORK POLICY`.
    pub(crate) fn words(&self) -> String {
        self.words.join(" ")
    }
}

/// Passes the words of a kind, in the singular or the plural, and gives it. The longest wins: `DATABASE ROLE` is no
/// `DATABASE`.
pub(crate) fn take(at: &mut Cursor<'_>) -> Option<Kind> {
    let words: [Upper; WORDS_MAX] = std::array::from_fn(|i| at.word_ahead(i));
    let fits = |kind: &&Kind| kind.words.iter().zip(&words).all(|(word, found)| is_word(found, word));
    if let Some(kind) = KINDS.iter().filter(fits).max_by_key(|kind| kind.words.len()) {
        at.pass(kind.words.len());
        return Some(*kind);
    }
    // `SNOWFLAKE.ML.FORECAST`: an instance of a class.
    if at.stands(&["SNOWFLAKE"]) && at.ahead(1) == Some(&Token::Period) && at.ahead(3) == Some(&Token::Period)
    {
        at.pass(5);
        return Some(INSTANCE);
    }
    // `… POLICY` and `… INTEGRATION` have ever new first words.
    let open = |word: &Upper| {
        OPEN_KINDS.iter().find(|kind| kind.words.first().is_some_and(|own| is_word(word, own)))
    };
    let last = words.iter().skip(1).position(|word| open(word).is_some())? + 1;
    let is_named = words.iter().take(last).all(|word| !word.is_empty());
    let kind = words.get(last).and_then(open).filter(|_| is_named)?;
    at.pass(last + 1);
    Some(*kind)
}

/// Most words that a kind has.
const WORDS_MAX: usize = 4;

/// Whether a word is this one or its plural.
fn is_word(found: &str, word: &str) -> bool {
    let rest = match found.strip_prefix(word) {
        Some(rest) => rest,
        None => return word.strip_suffix('Y').is_some_and(|stem| found.strip_prefix(stem) == Some("IES")),
    };
    matches!(rest, "" | "S")
}

macro_rules! kind {
    ($words:expr, $thing:expr) => {
        Kind { words: &$words, thing: $thing, is_administered: false, effect: None }
    };
    ($words:expr, $thing:expr, admin) => {
        Kind { words: &$words, thing: $thing, is_administered: true, effect: None }
    };
    ($words:expr, $thing:expr, admin $effect:ident) => {
        Kind { words: &$words, thing: $thing, is_administered: true, effect: Some(Effect::$effect) }
    };
    ($words:expr, $thing:expr, $effect:ident) => {
        Kind { words: &$words, thing: $thing, is_administered: false, effect: Some(Effect::$effect) }
    };
}

const fn object(kind: ObjectKind) -> Thing {
    Thing::Object(kind)
}

use ObjectKind as O;

/// `CREATE SNOWFLAKE.ML.FORECAST f (…)`.
const INSTANCE: Kind = kind!(["INSTANCE"], object(O::Model));

const OPEN_KINDS: &[Kind] = &[
    kind!(["POLICY"], object(O::Policy), admin PolicyChange),
    kind!(["INTEGRATION"], object(O::Integration), admin ExternalAccess),
];

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    kind!(["TABLE"], Thing::Table),
    kind!(["VIEW"], Thing::Table),
    kind!(["DYNAMIC", "ICEBERG", "TABLE"], Thing::Table),
    kind!(["DYNAMIC", "TABLE"], Thing::Table),
    kind!(["EVENT", "TABLE"], Thing::Table),
    kind!(["EXTERNAL", "TABLE"], Thing::Table),
    kind!(["HYBRID", "TABLE"], Thing::Table),
    kind!(["ICEBERG", "TABLE"], Thing::Table),
    kind!(["INTERACTIVE", "TABLE"], Thing::Table),
    kind!(["ONLINE", "FEATURE", "TABLE"], Thing::Table),
    kind!(["MATERIALIZED", "VIEW"], Thing::Table),
    kind!(["SEMANTIC", "VIEW"], Thing::Table),
    kind!(["STREAM"], Thing::Table),
    kind!(["SCHEMA"], Thing::Schema),
    kind!(["DATABASE"], Thing::Database),

    kind!(["ACCOUNT"], object(O::Account), admin),
    kind!(["MANAGED", "ACCOUNT"], object(O::Account), admin Share),
    kind!(["ORGANIZATION", "ACCOUNT"], object(O::Account), admin),
    kind!(["APPLICATION"], object(O::Application), admin),
    kind!(["APPLICATION", "PACKAGE"], object(O::ApplicationPackage), admin Share),
    kind!(["APPLICATION", "ROLE"], object(O::ApplicationRole), admin Grant),
    kind!(["APPLICATION", "SERVICE"], object(O::Service), admin),
    kind!(["COMPUTE", "POOL"], object(O::ComputePool), admin),
    kind!(["CONNECTION"], object(O::Connection), admin),
    kind!(["CONTACT"], object(O::SchemaObject), admin),
    kind!(["DATABASE", "ROLE"], object(O::DatabaseRole), admin Grant),
    kind!(["EXTERNAL", "VOLUME"], object(O::ExternalVolume), admin ExternalAccess),
    kind!(["FAILOVER", "GROUP"], object(O::FailoverGroup), admin Share),
    kind!(["REPLICATION", "GROUP"], object(O::ReplicationGroup), admin Share),
    kind!(["INTEGRATION"], object(O::Integration), admin ExternalAccess),
    kind!(["LISTING"], object(O::Listing), admin Share),
    kind!(["EXTERNAL", "LISTING"], object(O::Listing), admin Share),
    kind!(["ORGANIZATION", "LISTING"], object(O::Listing), admin Share),
    kind!(["DATA", "EXCHANGE"], object(O::AccountObject), admin Share),
    kind!(["NETWORK", "POLICY"], object(O::NetworkPolicy), admin PolicyChange),
    kind!(["NETWORK", "RULE"], object(O::NetworkRule), admin ExternalAccess),
    kind!(["POLICY"], object(O::Policy), admin PolicyChange),
    kind!(["BACKUP", "POLICY"], object(O::Policy), admin PolicyChange),
    kind!(["SNAPSHOT", "POLICY"], object(O::Policy), admin PolicyChange),
    kind!(["ORGANIZATION", "PROFILE"], object(O::AccountObject), admin),
    kind!(["RESOURCE", "MONITOR"], object(O::ResourceMonitor), admin),
    kind!(["ROLE"], object(O::Role), admin Grant),
    kind!(["SECRET"], object(O::Secret), admin MintsCredential),
    kind!(["SHARE"], object(O::Share), admin Share),
    kind!(["STAGE"], object(O::Stage), admin),
    kind!(["TAG"], object(O::Tag), admin TagChange),
    kind!(["USER"], object(O::User), admin),
    kind!(["ORGANIZATION", "USER"], object(O::User), admin),
    kind!(["ORGANIZATION", "USER", "GROUP"], object(O::AccountObject), admin Grant),
    kind!(["PERSONAL", "DATABASE"], Thing::Database),
    kind!(["WAREHOUSE"], object(O::Warehouse), admin),
    kind!(["INTERACTIVE", "WAREHOUSE"], object(O::Warehouse), admin),
    kind!(["SERVICE"], object(O::Service), admin),
    // `d.s.service!role`.
    kind!(["SERVICE", "ROLE"], object(O::Service), admin Grant),

    kind!(["AGENT"], object(O::SchemaObject)),
    kind!(["ALERT"], object(O::Alert)),
    kind!(["ARTIFACT", "REPOSITORY"], object(O::SchemaObject)),
    kind!(["CORTEX", "SEARCH", "SERVICE"], object(O::CortexSearchService)),
    kind!(["CORTEX", "AGENT"], object(O::SchemaObject)),
    kind!(["DATA", "METRIC", "FUNCTION"], object(O::Function)),
    kind!(["DATASET"], object(O::SchemaObject)),
    kind!(["DBT", "PROJECT"], object(O::SchemaObject)),
    kind!(["EXPERIMENT"], object(O::SchemaObject)),
    kind!(["EXTERNAL", "AGENT"], object(O::SchemaObject), ExternalAccess),
    kind!(["EXTERNAL", "FUNCTION"], object(O::Function), ExternalAccess),
    kind!(["FILE", "FORMAT"], object(O::FileFormat)),
    kind!(["FUNCTION"], object(O::Function)),
    kind!(["GATEWAY"], object(O::SchemaObject), admin ExternalAccess),
    kind!(["GIT", "REPOSITORY"], object(O::GitRepository), ExternalAccess),
    kind!(["IMAGE", "REPOSITORY"], object(O::ImageRepository)),
    kind!(["INDEX"], object(O::SchemaObject)),
    kind!(["MCP", "SERVER"], object(O::SchemaObject), admin ExternalAccess),
    kind!(["MODEL"], object(O::Model)),
    kind!(["MODEL", "MONITOR"], object(O::SchemaObject)),
    kind!(["NOTEBOOK"], object(O::Notebook)),
    kind!(["NOTEBOOK", "PROJECT"], object(O::Notebook)),
    kind!(["PIPE"], object(O::Pipe)),
    kind!(["PROCEDURE"], object(O::Procedure)),
    kind!(["PROVISIONED", "THROUGHPUT"], object(O::AccountObject), admin),
    kind!(["SEQUENCE"], object(O::Sequence)),
    kind!(["SNAPSHOT"], object(O::SchemaObject)),
    kind!(["SNAPSHOT", "SET"], object(O::SchemaObject)),
    kind!(["BACKUP"], object(O::SchemaObject)),
    kind!(["BACKUP", "SET"], object(O::SchemaObject)),
    kind!(["STREAMLIT"], object(O::Streamlit)),
    kind!(["TASK"], object(O::Task)),
    kind!(["TYPE"], object(O::SchemaObject)),
    kind!(["WORKSPACE"], object(O::SchemaObject)),
];
