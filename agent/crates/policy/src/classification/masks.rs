//! The masks of a classification: those that every one has, those that it describes, and the keys that they need.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use masking::{Format, Key, Mask, Unit};
use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use crate::near;

/// How many characters of a text `"partial"` shows, as on the receipt of a card payment.
const PARTIAL_KEEP_LAST: usize = 4;
/// The longest text that stands for a value; it is written as often as there are rows.
const FIXED_BYTES_MAX: usize = 256;
/// The longest name of a key; it is part of every hash.
const KEY_NAME_BYTES_MAX: usize = 32;

/// Masks that need no description.
const PLAIN: [&str; 3] = ["null", "partial", "keep-domain"];
const KINDS: [&str; 7] = ["null", "fixed", "partial", "keep-domain", "hash", "date", "token"];
const FORMATS: [&str; 4] = ["email", "phone", "card", "ssn"];

/// `[keys.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenKey {
    file: Spanned<String>,
}

/// `[masks.NAME]`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct WrittenMask {
    kind: Spanned<String>,
    text: Option<Spanned<String>>,
    keep_last: Option<Spanned<usize>>,
    key: Option<Spanned<String>>,
    unit: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
    keep_domain: Option<Spanned<bool>>,
    keep_issuer: Option<Spanned<bool>>,
    #[serde(default)]
    retype: bool,
}

/// A mask where one is named: by its word, or `{ keep-last = N }`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a mask is the name of one, or { keep-last = N }")]
pub(super) enum NamedMask {
    Word(String),
    Partial(PartialMask),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct PartialMask {
    keep_last: usize,
}

/// The masks that can be named.
#[derive(Debug, Clone, Default)]
pub(super) struct Masks {
    described: BTreeMap<String, Mask>,
    /// Where each key is.
    pub(super) key_files: BTreeMap<String, String>,
}

impl Masks {
    /// Reads them. A key that is not among `keys` is known by its name alone.
    pub(super) fn read(
        described: &BTreeMap<Spanned<String>, WrittenMask>,
        placed: &BTreeMap<Spanned<String>, WrittenKey>,
        keys: &BTreeMap<String, Key>,
        problems: &mut Vec<Wrong>,
    ) -> Self {
        let mut masks = Self::default();
        for (name, key) in placed {
            match key_file(name.get_ref(), key) {
                Ok(file) => drop(masks.key_files.insert(name.get_ref().clone(), file)),
                Err((place, message)) => problems.push((place.unwrap_or(name.span()), message)),
            }
        }
        let key_names: BTreeSet<&str> = placed.keys().map(|name| name.get_ref().as_str()).collect();
        for (name, mask) in described {
            if PLAIN.contains(&name.get_ref().as_str()) {
                let message = format!("{:?} is a mask that every classification has", name.get_ref());
                problems.push((name.span(), message));
                continue;
            }
            match mask.read(keys, &key_names) {
                Ok(mask) => drop(masks.described.insert(name.get_ref().clone(), mask)),
                Err(wrong) => problems.push(wrong),
            }
        }
        masks
    }

    /// The mask of a name; what was meant, if there is none.
    pub(super) fn named(&self, named: &NamedMask) -> Result<Mask, String> {
        let word = match named {
            NamedMask::Partial(PartialMask { keep_last }) => {
                return Ok(Mask::Partial { keep_last: *keep_last });
            }
            NamedMask::Word(word) => word,
        };
        if let Some(mask) = self.described.get(word).cloned().or_else(|| plain(word)) {
            return Ok(mask);
        }
        let known = PLAIN.into_iter().chain(self.described.keys().map(String::as_str));
        Err(match near::meant(word, known) {
            Some(meant) => format!("{word:?} is no mask; did you mean {meant:?}?"),
            None if KINDS.contains(&word.as_str()) => {
                format!(
                    "{word:?} needs a description: put kind = {word:?} under [masks.NAME], and that name here"
                )
            }
            None => format!(
                "{word:?} is no mask: it is \"null\", \"partial\", \"keep-domain\", {{ keep-last = N }} or the NAME of a \
                 [masks.NAME]"
            ),
        })
    }
}

fn plain(word: &str) -> Option<Mask> {
    match word {
        "null" => Some(Mask::Null),
        "partial" => Some(Mask::Partial { keep_last: PARTIAL_KEEP_LAST }),
        "keep-domain" => Some(Mask::KeepDomain),
        _ => None,
    }
}

/// A mask by its word, as annotations have it: `null`, `partial`, `keep-domain`, `keep-last:4`.
pub(crate) fn mask(word: &str) -> Option<Mask> {
    plain(word).or_else(|| Some(Mask::Partial { keep_last: word.strip_prefix("keep-last:")?.parse().ok()? }))
}

fn key_file(name: &str, key: &WrittenKey) -> Result<String, (Option<Range<usize>>, String)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || !name.bytes().all(is_name) {
        let most = KEY_NAME_BYTES_MAX;
        return Err((None, format!("the name of a key is up to {most} letters, digits, '-' and '_'")));
    }
    let file = key.file.get_ref();
    if file.starts_with('/') {
        Ok(file.clone())
    } else {
        Err((Some(key.file.span()), format!("{file:?} must be an absolute path")))
    }
}

impl WrittenMask {
    fn read(&self, keys: &BTreeMap<String, Key>, key_names: &BTreeSet<&str>) -> Result<Mask, Wrong> {
        let kind = self.kind.get_ref().as_str();
        self.check_options(kind)?;
        let key = || self.key(kind, keys, key_names);
        let mask = match kind {
            "null" => Mask::Null,
            "fixed" => Mask::Fixed(self.fixed()?),
            "partial" => Mask::Partial {
                keep_last: self.keep_last.as_ref().map_or(PARTIAL_KEEP_LAST, |n| *n.get_ref()),
            },
            "keep-domain" => Mask::KeepDomain,
            "hash" => Mask::Hash(key()?),
            "date" => Mask::Date(self.unit()?),
            "token" => Mask::Token(self.format()?, key()?),
            _ => return Err(self.unknown("kind", &self.kind, &KINDS)),
        };
        Ok(if self.retype { Mask::Retyped(Arc::new(mask)) } else { mask })
    }

    /// An option that a kind does not have would be taken for something it does.
    fn check_options(&self, kind: &str) -> Result<(), Wrong> {
        let format = self.format.as_ref().map(|format| format.get_ref().as_str());
        let written = [
            ("text", self.text.as_ref().map(Spanned::span), kind == "fixed"),
            ("keep-last", self.keep_last.as_ref().map(Spanned::span), kind == "partial"),
            ("key", self.key.as_ref().map(Spanned::span), matches!(kind, "hash" | "token")),
            ("unit", self.unit.as_ref().map(Spanned::span), kind == "date"),
            ("format", self.format.as_ref().map(Spanned::span), kind == "token"),
            ("keep-domain", self.keep_domain.as_ref().map(Spanned::span), format == Some("email")),
            ("keep-issuer", self.keep_issuer.as_ref().map(Spanned::span), format == Some("card")),
        ];
        let is_known = KINDS.contains(&kind);
        let wrong = written.into_iter().find_map(|(option, span, fits)| {
            let span = span.filter(|_| is_known && !fits)?;
            let of = format.filter(|_| kind == "token").unwrap_or(kind);
            Some((span, format!("a mask of kind {of:?} has no {option:?}")))
        });
        wrong.map_or(Ok(()), Err)
    }

    fn fixed(&self) -> Result<Arc<str>, Wrong> {
        let text = self.text.as_ref().ok_or_else(|| self.missing("text", "\"REDACTED\""))?;
        match text.get_ref().len() {
            0..=FIXED_BYTES_MAX => Ok(text.get_ref().as_str().into()),
            _ => Err((text.span(), format!("the text has more than {FIXED_BYTES_MAX} bytes"))),
        }
    }

    fn unit(&self) -> Result<Unit, Wrong> {
        let unit = self.unit.as_ref().ok_or_else(|| self.missing("unit", "\"year\" or \"month\""))?;
        match unit.get_ref().as_str() {
            "year" => Ok(Unit::Year),
            "month" => Ok(Unit::Month),
            _ => Err(self.unknown("unit", unit, &["year", "month"])),
        }
    }

    fn format(&self) -> Result<Format, Wrong> {
        let format = self
            .format
            .as_ref()
            .ok_or_else(|| self.missing("format", "\"email\", \"phone\", \"card\" or \"ssn\""))?;
        let flag = |option: &Option<Spanned<bool>>| option.as_ref().is_some_and(|flag| *flag.get_ref());
        match format.get_ref().as_str() {
            "email" => Ok(Format::Email { keep_domain: flag(&self.keep_domain) }),
            "phone" => Ok(Format::Phone),
            "card" => Ok(Format::Card { keep_issuer: flag(&self.keep_issuer) }),
            "ssn" => Ok(Format::Ssn),
            _ => Err(self.unknown("format", format, &FORMATS)),
        }
    }

    fn key(&self, kind: &str, keys: &BTreeMap<String, Key>, names: &BTreeSet<&str>) -> Result<Key, Wrong> {
        let Some(key) = &self.key else {
            let message =
                format!("a mask of kind {kind:?} needs a key: key = \"NAME\", and [keys.NAME] with its file");
            return Err((self.kind.span(), message));
        };
        let name = key.get_ref();
        if names.contains(name.as_str()) {
            return Ok(keys.get(name).cloned().unwrap_or_else(|| Key::named(name)));
        }
        let meant = near::meant(name, names.iter().copied());
        let meant = meant.map_or(format!("; say under [keys.{name}] where its file is"), |meant| {
            format!("; did you mean {meant:?}?")
        });
        Err((key.span(), format!("there is no key {name:?}{meant}")))
    }

    fn missing(&self, option: &str, example: &str) -> Wrong {
        let kind = self.kind.get_ref();
        (self.kind.span(), format!("a mask of kind {kind:?} needs {option} = {example}"))
    }

    fn unknown(&self, option: &str, word: &Spanned<String>, known: &[&str]) -> Wrong {
        let written = word.get_ref();
        let meant = match near::meant(written, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("it is one of {}", known.join(", ")),
        };
        (word.span(), format!("{written:?} is no {option} of a mask; {meant}"))
    }
}

/// The mask that shows no more than either. What each shows is in the order of this function: nothing; that there is a value;
/// and then a part of it, or which values are the same. Of two that show different things there is none but NULL.
pub(crate) fn stricter(a: Mask, b: Mask) -> Mask {
    match (a, b) {
        (a, b) if a == b => a,
        // One that makes a text of everything shows more than one that does so of texts alone.
        (Mask::Retyped(a), Mask::Retyped(b)) => {
            Mask::Retyped(Arc::new(stricter(a.as_ref().clone(), b.as_ref().clone())))
        }
        (Mask::Retyped(a), b) | (b, Mask::Retyped(a)) => stricter(a.as_ref().clone(), b),
        (Mask::Null, _) | (_, Mask::Null) => Mask::Null,
        // Neither text is the stricter one.
        (Mask::Fixed(_), Mask::Fixed(_)) => Mask::Null,
        (fixed @ Mask::Fixed(_), _) | (_, fixed @ Mask::Fixed(_)) => fixed,
        (Mask::Partial { keep_last: x }, Mask::Partial { keep_last: y }) => {
            Mask::Partial { keep_last: x.min(y) }
        }
        (Mask::Date(_), Mask::Date(_)) => Mask::Date(Unit::Year),
        (Mask::Within(a), Mask::Within(b)) => Mask::Within(a.iter().chain(b.iter()).cloned().collect()),
        (Mask::Token(Format::Email { .. }, a), Mask::Token(Format::Email { .. }, b)) if a == b => {
            Mask::Token(Format::Email { keep_domain: false }, a)
        }
        (Mask::Token(Format::Card { .. }, a), Mask::Token(Format::Card { .. }, b)) if a == b => {
            Mask::Token(Format::Card { keep_issuer: false }, a)
        }
        _ => Mask::Null,
    }
}

#[cfg(test)]
mod tests {
    use masking::JsonPath;

    use super::*;

    #[test]
    fn the_stricter_mask_never_shows_more() {
        let partial = |keep_last| Mask::Partial { keep_last };
        let retyped = |mask: Mask| Mask::Retyped(Arc::new(mask));
        let fixed = |text: &str| Mask::Fixed(text.into());
        let hash = |key| Mask::Hash(Key::named(key));
        let card = |keep_issuer, key| Mask::Token(Format::Card { keep_issuer }, Key::named(key));
        let within = |paths: &[&str]| {
            let part = |path: &&str| (JsonPath::parse(path).unwrap(), Mask::KeepDomain);
            Mask::Within(paths.iter().map(part).collect())
        };
        for (a, b, expected) in [
            (partial(4), partial(2), partial(2)),
            (partial(4), Mask::KeepDomain, Mask::Null),
            (Mask::Null, partial(4), Mask::Null),
            (Mask::KeepDomain, Mask::KeepDomain, Mask::KeepDomain),
            (fixed("x"), partial(4), fixed("x")),
            (fixed("x"), fixed("y"), Mask::Null),
            (fixed("x"), Mask::Null, Mask::Null),
            (hash("a"), hash("a"), hash("a")),
            (hash("a"), hash("b"), Mask::Null),
            (hash("a"), card(true, "a"), Mask::Null),
            (card(true, "a"), card(false, "a"), card(false, "a")),
            (card(true, "a"), card(false, "b"), Mask::Null),
            (Mask::Date(Unit::Month), Mask::Date(Unit::Year), Mask::Date(Unit::Year)),
            (retyped(partial(4)), partial(4), partial(4)),
            (retyped(partial(4)), retyped(partial(2)), retyped(partial(2))),
            (within(&["a"]), within(&["b"]), within(&["a", "b"])),
            (within(&["a"]), partial(4), Mask::Null),
            (within(&["a"]), fixed("x"), fixed("x")),
        ] {
            assert_eq!(stricter(a.clone(), b.clone()), expected, "{a:?} {b:?}");
            if !matches!((&a, &b), (Mask::Within(_), Mask::Within(_))) {
                assert_eq!(stricter(b.clone(), a.clone()), expected, "{b:?} {a:?}");
            }
        }
    }
}
