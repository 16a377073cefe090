//! The things policies speak of, as the policy engine wants them. Names are written here and nowhere else.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};
use identity::Principal;
use model::{AccountName, Ident, TableName};
use sql::{Class, Level, ObjectKind, ObjectPath, ObjectUse};

use crate::who::Who;

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
    stage: EntityTypeName,
    procedure: EntityTypeName,
    function: EntityTypeName,
    object: EntityTypeName,
    credential: EntityTypeName,
    endpoint: EntityTypeName,
    classes: BTreeMap<Class, EntityUid>,
    /// Every action of the schema, and the groups that it is in.
    actions: HashMap<EntityUid, Vec<EntityUid>>,
    pub(crate) unmask: EntityUid,
    pub(crate) decide: EntityUid,
    pub(crate) derive: EntityUid,
    pub(crate) login: EntityUid,
    pub(crate) ask_endpoint: EntityUid,
}

impl Vocabulary {
    pub(crate) fn new(schema: &Schema) -> Result<Self, String> {
        let name = |text: &str| EntityTypeName::from_str(text).map_err(|error| error.to_string());
        let action_type = name("Action")?;
        let action = |id: &str| EntityUid::from_type_name_and_id(action_type.clone(), EntityId::new(id));
        let known = schema.action_entities().map_err(|error| error.to_string())?;
        let groups_of = |action: &EntityUid| known.ancestors(action).into_iter().flatten().cloned().collect();
        Ok(Self {
            workload: name("Workload")?,
            group: name("Group")?,
            account: name("Account")?,
            database: name("Database")?,
            schema: name("Schema")?,
            table: name("Table")?,
            column: name("Column")?,
            stage: name("Stage")?,
            procedure: name("Procedure")?,
            function: name("Function")?,
            object: name("Object")?,
            credential: name("Credential")?,
            endpoint: name("Endpoint")?,
            classes: Class::ALL.into_iter().map(|class| (class, action(class.action()))).collect(),
            actions: known.iter().map(|entity| (entity.uid(), groups_of(&entity.uid()))).collect(),
            unmask: action("unmask"),
            decide: action("decide"),
            derive: action("derive"),
            login: action("login"),
            ask_endpoint: action("endpoint"),
        })
    }

    /// The action of a class. Every class has one; the schema and this map are made from the same list.
    pub(crate) fn class(&self, class: Class) -> Option<&EntityUid> {
        self.classes.get(&class)
    }

    /// Every action of the schema.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &EntityUid> {
        self.actions.keys()
    }

    /// Whether an action is a group of others.
    pub(crate) fn is_group(&self, action: &EntityUid) -> bool {
        self.actions.values().any(|groups| groups.contains(action))
    }

    /// The groups that an action is in.
    pub(crate) fn groups_of(&self, action: &EntityUid) -> &[EntityUid] {
        self.actions.get(action).map_or(&[], Vec::as_slice)
    }
}

/// Collects entities for one judgement; an object asked for twice is there once.
///
/// Each is given all its ancestors, not only its parents, so that these need not be there themselves: rules ask what an
/// object is *in*, and read attributes of nothing but the three that a question names. That every one of them fits the
/// schema is what [`crate::judge::Judge`] relies on, and checks wherever debug assertions are on.
pub(crate) struct Things<'a> {
    words: &'a Vocabulary,
    account: EntityUid,
    found: HashMap<EntityUid, Entity>,
    /// Whether one could not be built. Nothing is permitted then.
    is_damaged: bool,
}

type Attribute = (&'static str, RestrictedExpression);

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn tagged<'t>(tags: impl IntoIterator<Item = &'t String>) -> [Attribute; 1] {
    [("tags", RestrictedExpression::new_set(tags.into_iter().map(|tag| text(tag))))]
}

fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

impl<'a> Things<'a> {
    pub(crate) fn new(words: &'a Vocabulary, account: &AccountName) -> Self {
        let account = uid(&words.account, account.as_str());
        Self { words, account, found: HashMap::new(), is_damaged: false }
    }

    fn add<A: IntoIterator<Item = Attribute>>(
        &mut self,
        uid: EntityUid,
        attributes: impl FnOnce() -> A,
        ancestors: impl IntoIterator<Item = EntityUid>,
    ) -> EntityUid {
        if !self.found.contains_key(&uid) {
            let attributes = attributes().into_iter().map(|(name, value)| (name.to_owned(), value));
            match Entity::new_with_tags(uid.clone(), attributes, ancestors, []) {
                Ok(entity) => {
                    self.found.insert(uid.clone(), entity);
                }
                Err(_) => self.is_damaged = true,
            }
        }
        uid
    }

    pub(crate) fn action(&mut self, action: &EntityUid) {
        let groups = self.words.groups_of(action).iter().cloned();
        let _known = self.add(action.clone(), || [], groups);
    }

    pub(crate) fn account(&mut self) -> EntityUid {
        self.add(self.account.clone(), || tagged([]), [])
    }

    pub(crate) fn principal(&mut self, who: &Who) -> EntityUid {
        let groups = who.groups.iter().map(|group| uid(&self.words.group, group)).collect::<Vec<_>>();
        let attributes = || who.attributes.iter().map(|(name, value)| (*name, text(value)));
        self.add(uid(&self.words.workload, &who.id), attributes, groups)
    }

    fn database_uid(&self, database: &Ident) -> EntityUid {
        uid(&self.words.database, &quoted(database))
    }

    fn schema_uid(&self, database: &Ident, schema: &Ident) -> EntityUid {
        uid(&self.words.schema, &format!("{}.{}", quoted(database), quoted(schema)))
    }

    /// What a table is in; `None` if a part of its name is not known.
    fn around_table(&self, table: &TableName) -> Option<[EntityUid; 3]> {
        let (database, schema) = (table.database.as_ref()?, table.schema.as_ref()?);
        Some([self.schema_uid(database, schema), self.database_uid(database), self.account.clone()])
    }

    pub(crate) fn database<'t>(
        &mut self,
        database: &Ident,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> EntityUid {
        self.add(self.database_uid(database), || tagged(tags), [self.account.clone()])
    }

    pub(crate) fn schema<'t>(
        &mut self,
        database: &Ident,
        schema: &Ident,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> EntityUid {
        let around = [self.database_uid(database), self.account.clone()];
        self.add(self.schema_uid(database, schema), || tagged(tags), around)
    }

    /// A stage, a procedure, a warehouse, …; `None` if a part of its name is not known.
    pub(crate) fn object<'t>(
        &mut self,
        used: &ObjectUse,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> Option<EntityUid> {
        let mut around = vec![self.account.clone()];
        let ObjectPath { database, schema, name } = &used.name;
        let level = used.kind.level();
        let mut id = quoted(name);
        if level != Level::Account {
            let database = database.as_ref()?;
            around.push(self.database_uid(database));
            if level == Level::Schema {
                let schema = schema.as_ref()?;
                around.push(self.schema_uid(database, schema));
                id = format!("{}.{id}", quoted(schema));
            }
            id = format!("{}.{id}", quoted(database));
        }
        let kind = used.kind.as_str();
        let (of_type, id) = match used.kind {
            ObjectKind::Stage => (&self.words.stage, id),
            ObjectKind::Procedure => (&self.words.procedure, id),
            ObjectKind::Function => (&self.words.function, id),
            _ => (&self.words.object, format!("{kind}:{id}")),
        };
        let set = RestrictedExpression::new_set(tags.into_iter().map(|tag| text(tag)));
        Some(self.add(uid(of_type, &id), || [("kind", text(kind)), ("tags", set)], around))
    }

    /// A table; `None` if a part of its name is not known.
    pub(crate) fn table<'t>(
        &mut self,
        table: &TableName,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> Option<EntityUid> {
        let around = self.around_table(table)?;
        Some(self.add(uid(&self.words.table, &table_id(table)), || tagged(tags), around))
    }

    /// A column of a table, or what a pattern calls its columns. In the account if nothing closer is known.
    pub(crate) fn column<'t>(
        &mut self,
        id: &str,
        table: Option<&TableName>,
        tags: impl IntoIterator<Item = &'t String>,
    ) -> EntityUid {
        let around = table.and_then(|table| {
            let of_table = self.around_table(table)?;
            Some([uid(&self.words.table, &table_id(table))].into_iter().chain(of_table).collect())
        });
        let around = around.unwrap_or_else(|| vec![self.account.clone()]);
        self.add(uid(&self.words.column, id), || tagged(tags), around)
    }

    pub(crate) fn credential(&mut self, kind: &str, is_static: bool) -> EntityUid {
        let attributes = || [("kind", text(kind)), ("static", RestrictedExpression::new_bool(is_static))];
        self.add(uid(&self.words.credential, kind), attributes, [self.account.clone()])
    }

    pub(crate) fn endpoint(&mut self, host: &str, method: &str, path: &str) -> EntityUid {
        let attributes = || [("host", text(host)), ("method", text(method)), ("path", text(path))];
        let id = format!("{method} {host}{path}");
        self.add(uid(&self.words.endpoint, &id), attributes, [self.account.clone()])
    }

    /// All of them; `None` if one could not be built.
    pub(crate) fn into_entities(self) -> Option<Vec<Entity>> {
        (!self.is_damaged).then(|| self.found.into_values().collect())
    }
}

/// Attributes of the schema's `Workload`, each of them that it has.
pub(crate) fn principal_attributes(principal: &Principal) -> Vec<(&'static str, String)> {
    let job = principal.job_facts();
    let agent = principal.agent();
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
    // Left out and not empty, so that a rule has to ask whether there is one.
    .chain(agent.map(|agent| ("agent", agent.name())))
    .chain(agent.map(|agent| ("agent_evidence", agent.evidence().as_str())))
    .map(|(name, value)| (name, value.to_owned()))
    .collect()
}

fn owner(principal: &Principal) -> Option<&str> {
    principal.repository()?.split_once('/').map(|(owner, _)| owner)
}

pub(crate) fn groups(principal: &Principal) -> Vec<String> {
    let provider = principal.provider().map(identity::Provider::as_str);
    // On another CI system the same name is somebody else's.
    let of = provider.filter(|word| *word != "github").map(|word| format!("{word}:")).unwrap_or_default();
    let named = |kind: &str, name: Option<&str>| name.map(|name| format!("{kind}:{name}"));
    let claimed = principal.job_facts().into_iter().flat_map(|job| &job.groups);
    [
        named(&format!("{of}repository"), principal.repository()),
        named(&format!("{of}owner"), owner(principal)),
        named("provider", provider),
    ]
    .into_iter()
    .flatten()
    .chain(claimed.map(|group| format!("{of}group:{group}")))
    .chain(principal.groups().map(str::to_owned))
    .collect()
}

/// An identifier as Snowflake would have it written: quoted only where it must be.
pub(crate) fn quoted(ident: &Ident) -> String {
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
