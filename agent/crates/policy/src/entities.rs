//! The things policies speak of, as the policy engine wants them. Names are written here and nowhere else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    str::FromStr,
};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use identity::Principal;
use model::{AccountName, Ident, TableName};
use sql::Class;

use crate::Problem;

pub(crate) const ACTION_UNMASK: &str = "unmask";
const ACTION_LOGIN: &str = "login";
const ACTION_ENDPOINT: &str = "endpoint";

/// Type names and actions of the schema, parsed once.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    workload: EntityTypeName,
    group: EntityTypeName,
    account: EntityTypeName,
    database: EntityTypeName,
    schema: EntityTypeName,
    table: EntityTypeName,
    column: EntityTypeName,
    credential: EntityTypeName,
    endpoint: EntityTypeName,
    classes: BTreeMap<Class, EntityUid>,
    pub(crate) unmask: EntityUid,
    pub(crate) login: EntityUid,
    pub(crate) ask_endpoint: EntityUid,
}

impl Vocabulary {
    pub(crate) fn new() -> Result<Self, Problem> {
        let name = |text: &str| {
            EntityTypeName::from_str(text).map_err(|error| Problem::OwnSchema(error.to_string()))
        };
        let action_type = name("Action")?;
        let action = |id: &str| EntityUid::from_type_name_and_id(action_type.clone(), EntityId::new(id));
        Ok(Self {
            workload: name("Workload")?,
            group: name("Group")?,
            account: name("Account")?,
            database: name("Database")?,
            schema: name("Schema")?,
            table: name("Table")?,
            column: name("Column")?,
            credential: name("Credential")?,
            endpoint: name("Endpoint")?,
            classes: Class::ALL.into_iter().map(|class| (class, action(class.action()))).collect(),
            unmask: action(ACTION_UNMASK),
            login: action(ACTION_LOGIN),
            ask_endpoint: action(ACTION_ENDPOINT),
        })
    }

    /// The action of a class. Every class has one; the schema and this map are made from the same list.
    pub(crate) fn class(&self, class: Class) -> Option<&EntityUid> {
        self.classes.get(&class)
    }
}

/// Collects entities for one question; an object asked for twice is there once.
pub(crate) struct Things<'a> {
    words: &'a Vocabulary,
    account: EntityUid,
    found: HashMap<EntityUid, Entity>,
    /// Whether one could not be built. Nothing is permitted then.
    is_damaged: bool,
}

type Attributes = HashMap<String, RestrictedExpression>;

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn tagged<'t>(tags: impl IntoIterator<Item = &'t String>) -> Attributes {
    let set = RestrictedExpression::new_set(tags.into_iter().map(|tag| text(tag)));
    HashMap::from([("tags".to_owned(), set)])
}

fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

impl<'a> Things<'a> {
    pub(crate) fn new(words: &'a Vocabulary, account: &AccountName) -> Self {
        let uid = uid(&words.account, account.as_str());
        let mut things = Self { words, account: uid.clone(), found: HashMap::new(), is_damaged: false };
        things.add(uid, || tagged([]), []);
        things
    }

    fn add(
        &mut self,
        uid: EntityUid,
        attributes: impl FnOnce() -> Attributes,
        parents: impl IntoIterator<Item = EntityUid>,
    ) -> EntityUid {
        if !self.found.contains_key(&uid) {
            match Entity::new(uid.clone(), attributes(), HashSet::from_iter(parents)) {
                Ok(entity) => {
                    self.found.insert(uid.clone(), entity);
                }
                Err(_) => self.is_damaged = true,
            }
        }
        uid
    }

    pub(crate) fn account(&self) -> EntityUid {
        self.account.clone()
    }

    pub(crate) fn principal(&mut self, principal: &Principal) -> EntityUid {
        let words = self.words;
        let groups = groups(principal).into_iter().map(|group| uid(&words.group, &group)).collect::<Vec<_>>();
        for group in &groups {
            self.add(group.clone(), HashMap::new, []);
        }
        self.add(uid(&words.workload, &principal.id()), || principal_attributes(principal), groups)
    }

    pub(crate) fn database(&mut self, database: &Ident) -> EntityUid {
        let id = quoted(database);
        let account = self.account();
        self.add(uid(&self.words.database, &id), || tagged([]), [account])
    }

    pub(crate) fn schema(&mut self, database: &Ident, schema: &Ident) -> EntityUid {
        let parent = self.database(database);
        let id = format!("{}.{}", quoted(database), quoted(schema));
        self.add(uid(&self.words.schema, &id), || tagged([]), [parent])
    }

    /// A table; `None` if a part of its name is not known.
    pub(crate) fn table<'t>(
        &mut self,
        table: &TableName,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> Option<EntityUid> {
        let parent = self.schema(table.database.as_ref()?, table.schema.as_ref()?);
        Some(self.add(uid(&self.words.table, &table_id(table)), || tagged(tags), [parent]))
    }

    /// A column of a table, or what a pattern calls its columns. In the account if nothing closer is known.
    pub(crate) fn column<'t>(
        &mut self,
        id: &str,
        parent: Option<EntityUid>,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> EntityUid {
        let parent = parent.unwrap_or_else(|| self.account());
        self.add(uid(&self.words.column, id), || tagged(tags), [parent])
    }

    pub(crate) fn credential(&mut self, kind: &str, is_static: bool) -> EntityUid {
        let account = self.account();
        let attributes = || {
            HashMap::from([
                ("kind".to_owned(), text(kind)),
                ("static".to_owned(), RestrictedExpression::new_bool(is_static)),
            ])
        };
        self.add(uid(&self.words.credential, kind), attributes, [account])
    }

    pub(crate) fn endpoint(&mut self, host: &str, method: &str, path: &str) -> EntityUid {
        let account = self.account();
        let attributes = || {
            HashMap::from([
                ("host".to_owned(), text(host)),
                ("method".to_owned(), text(method)),
                ("path".to_owned(), text(path)),
            ])
        };
        self.add(uid(&self.words.endpoint, &format!("{method} {host}{path}")), attributes, [account])
    }

    /// All of them; `None` if one could not be built.
    pub(crate) fn into_entities(self) -> Option<Vec<Entity>> {
        (!self.is_damaged).then(|| self.found.into_values().collect())
    }
}

fn principal_attributes(principal: &Principal) -> Attributes {
    let job = principal.job_facts();
    let of_job = |pick: fn(&identity::Job) -> Option<&String>| job.and_then(pick).map_or("", String::as_str);
    [
        ("assurance", principal.assurance().as_str()),
        ("provider", principal.provider().map_or("", identity::Provider::as_str)),
        ("repository", principal.repository().unwrap_or_default()),
        ("owner", owner(principal).unwrap_or_default()),
        ("ref", of_job(|job| job.git_ref.as_ref())),
        ("workflow", of_job(|job| job.workflow.as_ref())),
        ("environment", of_job(|job| job.environment.as_ref())),
        ("actor", of_job(|job| job.actor.as_ref())),
        ("event", of_job(|job| job.event.as_ref())),
        ("job", of_job(|job| job.job.as_ref())),
        ("run_id", principal.run_id().unwrap_or_default()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), text(value)))
    .collect()
}

fn owner(principal: &Principal) -> Option<&str> {
    principal.repository()?.split_once('/').map(|(owner, _)| owner)
}

fn groups(principal: &Principal) -> Vec<String> {
    let named = |kind: &str, name: Option<&str>| name.map(|name| format!("{kind}:{name}"));
    [
        named("repository", principal.repository()),
        named("owner", owner(principal)),
        named("provider", principal.provider().map(identity::Provider::as_str)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An identifier as Snowflake would have it written: quoted only where it must be.
fn quoted(ident: &Ident) -> String {
    let text = ident.as_str();
    let begins = text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'$';
    if begins && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

/// A table's full name, `?` for what is not known.
pub(crate) fn table_id(table: &TableName) -> String {
    let part = |part: &Option<Ident>| part.as_ref().map_or("?".to_owned(), quoted);
    format!("{}.{}.{}", part(&table.database), part(&table.schema), quoted(&table.name))
}

/// A container's full name, `?` for what is not known.
pub(crate) fn container_id(container: &sql::Container) -> String {
    let part = |part: &Option<Ident>| part.as_ref().map_or("?".to_owned(), quoted);
    match container {
        sql::Container::Database(database) => quoted(database),
        sql::Container::Schema { database, schema } => format!("{}.{}", part(database), part(schema)),
    }
}
