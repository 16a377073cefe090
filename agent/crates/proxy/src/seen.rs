//! What statements mean that were read before: drivers and tools send the same texts again and again.
//!
//! Reading is pure: the same text under the same names, with the same known of tables and views, has the same facts. Texts
//! and names are compared in full, not by a digest, and what was known of tables by when it was said. What is kept is only
//! what a text means; whether it may run is asked anew each time.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex},
};

use model::{SqlText, TableName};
use sql::{Catalog, Facts, SessionNames};

use crate::{
    catalog::cache::{Sight, Stamp},
    limits::{SEEN_BYTES_MAX, SEEN_FACTS_BYTES_MAX},
    session::lock,
};

/// Facts by what they were read from.
type ByText = HashMap<(SqlText, SessionNames), Read>;

/// What a text meant.
#[derive(Debug, Clone)]
struct Read {
    facts: Arc<Facts>,
    /// What it was read with; none where nothing was looked up.
    basis: Option<Arc<Basis>>,
}

/// What was known of tables and views when a text was read.
#[derive(Debug)]
pub(crate) struct Basis {
    /// Who saw them.
    pub(crate) sight: Arc<Sight>,
    /// Each that was asked about, and the answer.
    pub(crate) of: Vec<(TableName, Stamp)>,
    /// The tables and views that views among them show.
    pub(crate) reached: Arc<BTreeSet<TableName>>,
    /// The tables and views of which nobody knew what they show.
    pub(crate) unresolved: Arc<BTreeSet<TableName>>,
}

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
    /// The facts of a text, as [`sql::analyze`] finds them where nothing is known of tables.
    pub(crate) fn analyze(&self, text: &SqlText, names: SessionNames) -> Arc<Facts> {
        let key = (text.clone(), names);
        let kept = lock(&self.0).find(&key);
        if let Some(Read { facts, basis: None }) = kept {
            return facts;
        }
        let facts = Arc::new(sql::analyze(&key.0, &key.1, &Catalog::default()));
        self.insert(key, Read { facts: facts.clone(), basis: None });
        facts
    }

    /// The facts of a text that was read before, if what was known of tables then `is_current`.
    pub(crate) fn find(
        &self,
        text: &SqlText,
        names: &SessionNames,
        is_current: impl Fn(&Basis) -> bool,
    ) -> Option<(Arc<Facts>, Arc<Basis>)> {
        let Read { facts, basis } = lock(&self.0).find(&(text.clone(), names.clone()))?;
        basis.filter(|basis| is_current(basis)).map(|basis| (facts, basis))
    }

    /// Keeps the facts of a text, with what they rest on.
    pub(crate) fn keep(&self, text: &SqlText, names: SessionNames, facts: Arc<Facts>, basis: Basis) {
        self.insert((text.clone(), names), Read { facts, basis: Some(Arc::new(basis)) });
    }

    fn insert(&self, key: (SqlText, SessionNames), read: Read) {
        if read.size() <= SEEN_FACTS_BYTES_MAX {
            lock(&self.0).insert(key, read);
        }
    }
}

impl Read {
    fn size(&self) -> usize {
        let of_table = |(table, _): &(TableName, Stamp)| {
            let parts = [table.database.as_ref(), table.schema.as_ref(), Some(&table.name)];
            let names: usize = parts.into_iter().flatten().map(|part| part.as_str().len()).sum();
            size_of::<(TableName, Stamp)>() + names
        };
        let basis = self.basis.as_ref().map_or(0, |basis| basis.of.iter().map(of_table).sum());
        self.facts.size() + basis
    }
}

impl Halves {
    fn find(&mut self, key: &(SqlText, SessionNames)) -> Option<Read> {
        if let Some(read) = self.newer.get(key) {
            return Some(read.clone());
        }
        let (key, read) = self.older.remove_entry(key)?;
        self.insert(key, read.clone());
        Some(read)
    }

    fn insert(&mut self, key: (SqlText, SessionNames), read: Read) {
        let bytes = read.size();
        if self.bytes + bytes > SEEN_BYTES_MAX / 2 {
            self.older = mem::take(&mut self.newer);
            self.bytes = 0;
        }
        // What was read before may have been read with something else known.
        let before = self.newer.insert(key, read).map_or(0, |read| read.size());
        self.bytes = self.bytes + bytes - before;
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
            assert!(kept.map(|read| read.facts.size()).sum::<usize>() <= SEEN_BYTES_MAX, "{n}");
        }
        // A short text whose facts are long.
        let columns = (0..1_000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
        let long = text(&format!("select {columns} from {}", "n".repeat(200)));
        let first = seen.analyze(&long, names("S", false));
        assert!(!Arc::ptr_eq(&first, &seen.analyze(&long, names("S", false))));
    }
}
