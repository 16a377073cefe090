//! What statements mean that were read before: drivers and tools send the same texts again and again.
//!
//! Reading is pure: the same text under the same names has the same facts. Both are compared in full, not by a digest.
//! What is kept is only what a text means; whether it may run is asked anew each time.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex},
};

use model::SqlText;
use sql::{Catalog, Facts, SessionNames};

use crate::{
    limits::{SEEN_BYTES_MAX, SEEN_FACTS_BYTES_MAX},
    session::lock,
};

/// Facts by what they were read from.
type ByText = HashMap<(SqlText, SessionNames), Arc<Facts>>;

/// The facts of the last texts, of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Halves>);

/// When the newer half is full it becomes the older one, and what is in that is forgotten unless it was asked for since.
#[derive(Debug, Default)]
struct Halves {
    newer: ByText,
    /// What the newer half takes.
    bytes: usize,
    older: ByText,
}

impl Seen {
    /// The facts of a text, as [`sql::analyze`] finds them.
    pub(crate) fn analyze(&self, text: &SqlText, names: SessionNames) -> Arc<Facts> {
        let key = (text.clone(), names);
        if let Some(facts) = lock(&self.0).find(&key) {
            return facts;
        }
        let facts = Arc::new(sql::analyze(&key.0, &key.1, &Catalog::default()));
        if facts.size() <= SEEN_FACTS_BYTES_MAX {
            lock(&self.0).insert(key, facts.clone());
        }
        facts
    }
}

impl Halves {
    fn find(&mut self, key: &(SqlText, SessionNames)) -> Option<Arc<Facts>> {
        if let Some(facts) = self.newer.get(key) {
            return Some(facts.clone());
        }
        let (key, facts) = self.older.remove_entry(key)?;
        self.insert(key, facts.clone());
        Some(facts)
    }

    fn insert(&mut self, key: (SqlText, SessionNames), facts: Arc<Facts>) {
        let bytes = facts.size();
        if self.bytes + bytes > SEEN_BYTES_MAX / 2 {
            self.older = mem::take(&mut self.newer);
            self.bytes = 0;
        }
        // Two that read the same text at one time both come here; its bytes are counted once.
        if self.newer.insert(key, facts).is_none() {
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Ident;

    use super::*;

    fn text(text: &str) -> SqlText {
        SqlText::new(text).unwrap()
    }

    fn names(schema: &str, fold_quoted: bool) -> SessionNames {
        let (database, schema) = (Some(Ident::exact("A")), Some(Ident::exact(schema)));
        SessionNames { database, schema, fold_quoted, number: Some(1), ..SessionNames::default() }
    }

    #[test]
    fn a_text_is_read_once_under_one_set_of_names() {
        let seen = Seen::default();
        let first = seen.analyze(&text("select x from t"), names("S", false));
        assert!(Arc::ptr_eq(&first, &seen.analyze(&text("select x from t"), names("S", false))));
    }

    #[test]
    fn other_names_or_another_text_are_read_anew() {
        let seen = Seen::default();
        let other_session = SessionNames { number: Some(2), ..names("S", false) };
        let asked = [
            ("select x from \"t\"", names("S", false)),
            ("select x from \"t\"", names("R", false)),
            ("select x from \"t\"", names("S", true)),
            ("select x from \"t\"", other_session),
            ("select x from \"t\"", SessionNames::default()),
            ("select x from \"T\"", names("S", false)),
        ];
        // The second time none may get what another one left.
        for _ in 0..2 {
            for (sql, names) in &asked {
                let (kept, fresh) = (
                    seen.analyze(&text(sql), names.clone()),
                    sql::analyze(&text(sql), names, &Catalog::default()),
                );
                assert_eq!(kept.text(), fresh.text());
                assert_eq!(kept.statements(), fresh.statements(), "{sql}");
            }
        }
        assert_eq!(lock(&seen.0).newer.len(), asked.len());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let seen = Seen::default();
        let often = || seen.analyze(&text("select 'often'"), names("S", false));
        let first = often();
        let padding = "x".repeat(SEEN_FACTS_BYTES_MAX / 2);
        for n in 0..4 * SEEN_BYTES_MAX / SEEN_FACTS_BYTES_MAX {
            let _ = seen.analyze(&text(&format!("select {n}, '{padding}'")), names("S", false));
            assert!(Arc::ptr_eq(&first, &often()), "{n}");
            let halves = lock(&seen.0);
            let kept = halves.newer.values().chain(halves.older.values());
            assert!(kept.map(|facts| facts.size()).sum::<usize>() <= SEEN_BYTES_MAX, "{n}");
        }
        // A short text whose facts are long.
        let columns = (0..1_000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
        let long = text(&format!("select {columns} from {}", "n".repeat(200)));
        let first = seen.analyze(&long, names("S", false));
        assert!(!Arc::ptr_eq(&first, &seen.analyze(&long, names("S", false))));
    }
}
