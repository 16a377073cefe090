//! Tests of what a classification says, and of what is wrong with one.

use masking::{Format, Unit};

use super::*;

const GOOD: &str = r#"
[[column]]
pattern = "ANALYTICS.PUBLIC.CUSTOMERS.EMAIL"
tags = ["pii", "email"]

[[column]]
pattern = "*.*.*.SSN"
tags = ["pii", "ssn"]

[[column]]
pattern = "*.*.*.NOTE"
tags = ["pii"]

[[column]]
pattern = "*.*.*.BOTH"
tags = ["email", "ssn"]

[tags.email]
mask = "keep-domain"

[tags.ssn]
mask = { keep-last = 4 }
"#;

#[test]
fn tags_say_how_a_column_is_masked() {
    let classification = Classification::parse("c.toml", GOOD).unwrap();
    let masks: Vec<Option<Mask>> =
        classification.columns().iter().map(|tagged| tagged.mask.clone()).collect();
    assert_eq!(masks, [Some(Mask::KeepDomain), Some(Mask::Partial { keep_last: 4 }), None, Some(Mask::Null)]);
    assert!(Classification::parse("c.toml", "").unwrap().columns().is_empty());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        (
            "[[column]]\npattern = \"A.B\"\ntags = [\"x\"]\n",
            "c.toml:2:11: a pattern has four parts: DATABASE.SCHEMA.TABLE.COLUMN, each may hold *",
        ),
        ("[[column]]\npattern = \"A.B.C.D\"\ntags = []\n", "c.toml:3:8: a column needs at least one tag"),
        (
            "[[columns]]\n",
            "c.toml:1:3: unknown field `columns`, expected one of `column`, `object`, `tags`, `keys`, `masks`, `detector`",
        ),
        ("[tags.x]\nmask = \"nul\"\n", "c.toml:2:8: \"nul\" is no mask; did you mean \"null\"?"),
        ("[tags.x]\nmask = 4\n", "c.toml:2:8: a mask is the name of one, or { keep-last = N }"),
        (
            "[tags.x]\nmask = \"hash\"\n",
            "c.toml:2:8: \"hash\" needs a description: put kind = \"hash\" under [masks.NAME]",
        ),
        (
            "[tags.x]\nmask = \"anything\"\n",
            "c.toml:2:8: \"anything\" is no mask: it is \"null\", \"partial\", \"keep-domain\", { keep-last = N } or the",
        ),
        ("[masks.null]\nkind = \"null\"\n", "c.toml:1:8: \"null\" is a mask that every classification has"),
        ("[masks.m]\nkind = \"hush\"\n", "c.toml:2:8: \"hush\" is no kind of a mask; did you mean \"hash\"?"),
        (
            "[masks.m]\nkind = \"hash\"\n",
            "c.toml:2:8: a mask of kind \"hash\" needs a key: key = \"NAME\", and [keys.NAME] with its file",
        ),
        (
            "[keys.shop]\nfile = \"/k\"\n[masks.m]\nkind = \"hash\"\nkey = \"shob\"\n",
            "c.toml:5:7: there is no key \"shob\"; did you mean \"shop\"?",
        ),
        (
            "[masks.m]\nkind = \"hash\"\nkey = \"k\"\n",
            "c.toml:3:7: there is no key \"k\"; say under [keys.k] where its file is",
        ),
        ("[keys.k]\nfile = \"k\"\n", "c.toml:2:8: \"k\" must be an absolute path"),
        (
            "[keys.\"a b\"]\nfile = \"/k\"\n",
            "c.toml:1:7: the name of a key is up to 32 letters, digits, '-' and '_'",
        ),
        (
            "[masks.m]\nkind = \"null\"\nkeep-last = 4\n",
            "c.toml:3:13: a mask of kind \"null\" has no \"keep-last\"",
        ),
        (
            "[masks.m]\nkind = \"token\"\nformat = \"phone\"\nkeep-issuer = true\n",
            "c.toml:4:15: a mask of kind \"phone\" has no \"keep-issuer\"",
        ),
        (
            "[masks.m]\nkind = \"token\"\nformat = \"phon\"\n",
            "c.toml:3:10: \"phon\" is no format of a mask; did you mean \"phone\"?",
        ),
        (
            "[masks.m]\nkind = \"date\"\n",
            "c.toml:2:8: a mask of kind \"date\" needs unit = \"year\" or \"month\"",
        ),
        (
            "[masks.m]\nkind = \"date\"\nunit = \"week\"\n",
            "c.toml:3:8: \"week\" is no unit of a mask; it is one of year, month",
        ),
        ("[masks.m]\nkind = \"fixed\"\n", "c.toml:2:8: a mask of kind \"fixed\" needs text = \"REDACTED\""),
        ("[masks.m]\nkind = \"null\"\nkeeplast = 4\n", "c.toml:3:1: unknown field `keeplast`"),
        ("[tags.x]\n  mask =\n", "c.toml:2:9: "),
        (
            "[[column]]\npattern = \"*.*.*.E\"\ntags = [\"email\"]\n\n[tags.emial]\nmask = \"null\"\n",
            "c.toml:5:1: nothing carries the tag \"emial\"; did you mean \"email\"?",
        ),
        (
            "[[object]]\nkind = \"stages\"\nname = \"*.*.S\"\ntags = [\"x\"]\n",
            "c.toml:2:8: \"stages\" is no kind of object; did you mean \"stage\"?",
        ),
        (
            "[[object]]\nkind = \"schema\"\nname = \"S\"\ntags = [\"x\"]\n",
            "c.toml:3:8: a name of this kind has 2 parts, each may hold *",
        ),
    ] {
        let error = Classification::parse("c.toml", text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn masks_are_described_once_and_named_by_tags() {
    let text = r#"
[keys.shop]
file = "/etc/snowfence/keys/shop"
[masks.customer]
kind = "hash"
key = "shop"
retype = true
[masks.born]
kind = "date"
unit = "year"
[masks.card]
kind = "token"
format = "card"
keep-issuer = true
key = "shop"
[masks.gone]
kind = "fixed"
text = "REDACTED"
[masks.mail]
kind = "token"
format = "email"
key = "shop"
[[column]]
pattern = "*.*.*.A"
tags = ["a", "b", "c", "d", "e"]
[tags]
a = { mask = "customer" }
b = { mask = "born" }
c = { mask = "card" }
d = { mask = "gone" }
e = { mask = "mail" }
"#;
    let key = Key::new("shop", &[1; 32]).unwrap();
    let keys = BTreeMap::from([("shop".to_owned(), key.clone())]);
    let classification = Classification::parse_with("c.toml", text, &keys).unwrap();
    let mask = |tag: &str| classification.mask_of(&BTreeSet::from([tag.to_owned()])).unwrap();
    assert_eq!(mask("a"), Mask::Retyped(Arc::new(Mask::Hash(key.clone()))));
    assert_eq!(mask("b"), Mask::Date(Unit::Year));
    assert_eq!(mask("c"), Mask::Token(Format::Card { keep_issuer: true }, key.clone()));
    assert_eq!(mask("d"), Mask::Fixed("REDACTED".into()));
    assert_eq!(mask("e"), Mask::Token(Format::Email { keep_domain: false }, key));
    assert_eq!(classification.key_files().collect::<Vec<_>>(), [("shop", "/etc/snowfence/keys/shop")]);
    assert!(Classification::parse("c.toml", text).is_ok(), "without the keys it can be looked at");
}
