//! What a statement mentions wherever it stands, whoever reads the rest: stages, policies, tags, integrations, and the
//! effects that some words have. In doubt an effect is listed.

use model::TableName;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use crate::{
    Access, Class, Container, ContainerUse, Effect, Group, ObjectKind, ObjectUse, SessionNames, Statement,
    cursor::{Cursor, Parts},
    kinds::{self, Thing},
    plain, survey,
    upper::Upper,
};

/// Adds what the tokens mention.
pub(crate) fn add(tokens: &[&TokenWithSpan], names: &SessionNames, into: &mut Statement) {
    let mut walk = Walk { at: Cursor::new(tokens), names, into };
    while !walk.at.is_at_end() {
        walk.step();
    }
}

/// The stage that a `PUT` or `GET` names behind a location with `//`, which our tokenizer takes for a comment.
pub(crate) fn add_hidden_stage(tokens: &[TokenWithSpan], names: &SessionNames, into: &mut Statement) {
    for token in tokens {
        let Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) = &token.token else { continue };
        let Some((_, path)) = comment.split_once('@') else { continue };
        let end = path.find(|c: char| c == '/' || c == '\'' || c.is_whitespace()).unwrap_or(path.len());
        let access = if into.class == Class::Put { Access::Write } else { Access::Read };
        if let Some(parts) = path.get(..end).and_then(|name| quoted_parts(name, names))
            && let Some(name) = names.object(ObjectKind::Stage, &parts)
        {
            into.objects.push(ObjectUse { kind: ObjectKind::Stage, name, access, fallback: false });
        }
    }
}

struct Walk<'a, 't> {
    at: Cursor<'t>,
    names: &'a SessionNames,
    into: &'a mut Statement,
}

impl<'t> Walk<'_, 't> {
    fn step(&mut self) {
        match self.at.peek() {
            Some(Token::AtSign) => self.stage(),
            Some(Token::SingleQuotedString(text)) => {
                if text.starts_with('@') && self.is_file_place() {
                    self.quoted_stage(text);
                }
                self.at.pass(1);
            }
            Some(Token::Word(word)) if word.quote_style.is_none() => self.word(),
            _ => self.at.pass(1),
        }
    }

    fn word(&mut self) {
        let word = self.at.word();
        let is_call = self.at.ahead(1) == Some(&Token::LParen);
        // Options of a staged file are given with an arrow.
        let is_given = word == "FILE_FORMAT" && self.at.ahead(1) == Some(&Token::RArrow);
        let is_assigned = is_given || self.at.ahead(1) == Some(&Token::Eq);
        self.at.pass(1);
        if is_assigned {
            self.at.pass(1);
            self.property(&word);
            return;
        }
        if is_call {
            self.call(&word);
            return;
        }
        let is_definition = is_definition(self.into.class);
        if is_definition || self.into.class == Class::Execute {
            self.led_to(&word);
        }
        match word.as_str() {
            "REFERENCES" if self.into.class.group() == Group::Ddl => self.named(Thing::Table),
            "CLONE" if is_definition => self.effect(Effect::Clone),
            "POLICY" if is_definition && !self.follows_network() => {
                self.mentioned(ObjectKind::Policy, Effect::PolicyChange)
            }
            // `DROP ALL ROW ACCESS POLICIES` names none.
            "POLICIES" if is_definition => self.effect(Effect::PolicyChange),
            "TAG" if is_definition => self.mentioned(ObjectKind::Tag, Effect::TagChange),
            "SHARE" if matches!(self.into.class, Class::Grant | Class::Revoke) => self.effect(Effect::Share),
            "PAT" | "TOKEN" if self.into.class == Class::Administer => self.effect(Effect::MintsCredential),
            _ => {}
        }
    }

    fn follows_network(&self) -> bool {
        let before = self.at.back(2).and_then(crate::cursor::word).unwrap_or_default();
        before.eq_ignore_ascii_case("NETWORK")
    }

    /// A word that leads to the kind of an object and its name: `IN COMPUTE POOL p`, `FROM MODEL m`, `SHARE s`.
    fn led_to(&mut self, word: &str) {
        let mut ahead = self.at;
        match word {
            "IN" | "ON" | "FOR" | "TO" | "OF" => {}
            // In a query what follows may be a table and its alias.
            "FROM" if !self.makes_table() => {}
            "CONTACT" if self.at.ahead(1) == Some(&Token::Eq) => {
                self.at.pass(2);
                return self.named(Thing::Object(ObjectKind::SchemaObject));
            }
            // `ALTER USER … SECURITY INTEGRATION i`, `CREATE LISTING l SHARE s`, `ALTER TABLE … METRIC FUNCTION f`.
            "SECURITY" | "SHARE" | "PACKAGE" | "METRIC" if self.at.position() > 3 => {
                ahead = self.where_kind_begins(word);
            }
            _ => return,
        }
        let Some(kind) = kinds::take(&mut ahead) else { return };
        // Those have words of their own.
        if matches!(kind.thing, Thing::Object(ObjectKind::Policy | ObjectKind::Tag)) {
            return;
        }
        let is_name = match ahead.peek() {
            Some(Token::Word(word)) => {
                let upper = ahead.word();
                word.quote_style.is_some() || (!survey::is_reserved(&upper) && upper != "IDENTIFIER")
            }
            Some(Token::SingleQuotedString(_)) => true,
            _ => false,
        };
        if is_name && ahead.ahead(1) != Some(&Token::Eq) {
            self.at = ahead;
            self.named(kind.thing);
        }
    }

    /// The place where the words of a kind begin that this word, which was passed, is a part of.
    fn where_kind_begins(&self, word: &str) -> Cursor<'t> {
        let back = if matches!(word, "PACKAGE" | "METRIC") { 2 } else { 1 };
        self.at.returned(back)
    }

    fn makes_table(&self) -> bool {
        self.into.tables.iter().any(|used| used.access == Access::Create)
    }

    /// The name of a thing that is read.
    fn named(&mut self, thing: Thing) {
        let parts = match self.at.peek() {
            Some(Token::SingleQuotedString(text)) => {
                self.at.pass(1);
                quoted_parts(text, self.names)
            }
            _ => self.at.name(self.names),
        };
        let Some(parts) = parts else { return };
        match thing {
            Thing::Object(kind) => self.object(kind, &parts, Access::Read),
            Thing::Table => {
                let named = self.names.tables_of(&parts).unwrap_or_default();
                let is_known = |table: &TableName| self.into.tables.iter().any(|used| used.table == *table);
                let new: Vec<TableName> = named.into_iter().filter(|table| !is_known(table)).collect();
                self.into.tables.extend(plain::uses(new, Access::Read));
            }
            Thing::Schema => self.container(self.names.schema_named(&parts)),
            Thing::Database => self.container(self.names.database_of(&parts)),
        }
    }

    fn container(&mut self, container: Option<Container>) {
        let used = container.map(|container| ContainerUse { container, access: Access::Read });
        let is_new =
            |used: &ContainerUse| !self.into.containers.iter().any(|known| known.container == used.container);
        let used = used.filter(is_new);
        self.into.containers.extend(used);
    }

    /// Several of them, in parentheses or not.
    fn all_named(&mut self, thing: Thing) {
        let is_list = self.at.take_token(&Token::LParen);
        loop {
            self.named(thing);
            if !self.at.take_token(&Token::Comma) {
                break;
            }
        }
        let _end = is_list && self.at.take_token(&Token::RParen);
    }

    /// `TABLES (t, alias AS d.s.u PRIMARY KEY (a), …)` of a semantic view or a warehouse.
    fn tables_in_parentheses(&mut self) {
        let mut end = self.at;
        survey::skip_parentheses(&mut end);
        self.at.pass(1);
        while self.at.position() < end.position() {
            let alias = self.at;
            let _alias = self.at.name(self.names);
            if !self.at.take(&["AS"]) {
                self.at = alias;
            }
            self.named(Thing::Table);
            while self.at.position() < end.position() && !self.at.take_token(&Token::Comma) {
                match self.at.peek() {
                    Some(Token::LParen) => survey::skip_parentheses(&mut self.at),
                    _ => self.at.pass(1),
                }
            }
        }
    }

    /// `SECRETS = ('name' = secret, …)`.
    fn secrets(&mut self) {
        let _open = self.at.take_token(&Token::LParen);
        while let Some(Token::SingleQuotedString(_)) = self.at.peek() {
            self.at.pass(1);
            let _is = self.at.take_token(&Token::Eq);
            let Some(parts) = self.at.name(self.names) else { return };
            self.object(ObjectKind::Secret, &parts, Access::Read);
            let _comma = self.at.take_token(&Token::Comma);
        }
    }

    /// A function or clause that reaches further than its arguments.
    fn call(&mut self, word: &str) {
        match word {
            "AT" | "BEFORE" | "CHANGES"
                if self.names_a_time()
                    && (!is_definition(self.into.class) || self.into.effects.contains(&Effect::Clone)) =>
            {
                self.effect(Effect::TimeTravel);
            }
            "RESULT_SCAN" => self.effect(Effect::ResultScan),
            "GET_PRESIGNED_URL" | "BUILD_SCOPED_FILE_URL" | "BUILD_STAGE_FILE_URL" => {
                self.effect(Effect::MintsCredential);
            }
            _ if word.starts_with("SYSTEM$GENERATE") => self.effect(Effect::MintsCredential),
            "TABLES" if is_definition(self.into.class) => self.tables_in_parentheses(),
            "TAG" if is_definition(self.into.class) => {
                self.at.pass(1);
                self.mentioned(ObjectKind::Tag, Effect::TagChange);
            }
            _ => {}
        }
    }

    /// `AT (OFFSET => …)` and its like, and not a function or a table of that name.
    fn names_a_time(&self) -> bool {
        let word = self.at.word_ahead(1);
        let is_named = matches!(self.at.ahead(2), Some(Token::RArrow));
        (is_named && matches!(word.as_str(), "OFFSET" | "TIMESTAMP" | "STATEMENT" | "STREAM"))
            || word == "INFORMATION"
    }

    fn property(&mut self, word: &str) {
        use ObjectKind as O;
        // In a query or a change of rows it is compared with a column of that name.
        let is_compared = matches!(self.into.class.group(), Group::Read | Group::Write | Group::Session)
            && self.into.class != Class::CopyLoad;
        if is_compared && word != "FILE_FORMAT" && word != "FORMAT_NAME" {
            return self.credential(word);
        }
        match word {
            "API_AUTHENTICATION" | "SECURITY_INTEGRATIONS" => self.listed(O::Integration),
            "CATALOG" if !self.is_own_catalog() => {
                self.listed(O::Integration);
                self.effect(Effect::ExternalAccess);
            }
            "WEBHOOK_SECRET" | "ALLOWED_AUTHENTICATION_SECRETS" => self.listed(O::Secret),
            "RUN_AS_ROLE" => self.listed(O::Role),
            "NOTIFY_USERS" => self.listed(O::User),
            "REQUEST_TRANSLATOR" | "RESPONSE_TRANSLATOR" => self.listed(O::Function),
            "SERVICE" => self.listed(O::Service),
            "FINALIZE" => self.listed(O::Task),
            // A text names one that is nobody's here.
            "MODEL" if matches!(self.at.peek(), Some(Token::Word(_))) => self.listed(O::Model),
            "EVENT_TABLE" | "BASELINE" => self.named(Thing::Table),
            "SOURCE" if !self.makes_table() => self.named(Thing::Table),
            "DEFAULT_NAMESPACE" => self.namespace(),
            "ALLOWED_DATABASES" => self.all_named(Thing::Database),
            "ALLOWED_SHARES" => self.all_named(Thing::Object(O::Share)),
            "FILE_FORMAT" if self.at.peek() != Some(&Token::LParen) => self.listed(O::FileFormat),
            "WAREHOUSE" | "QUERY_WAREHOUSE" | "DEFAULT_WAREHOUSE" => self.listed(O::Warehouse),
            "STORAGE_INTEGRATION"
            | "API_INTEGRATION"
            | "EXTERNAL_ACCESS_INTEGRATIONS"
            | "INTEGRATION"
            | "CATALOG_INTEGRATION"
            | "ENABLED_INTEGRATIONS" => {
                self.listed(O::Integration);
                self.effect(Effect::ExternalAccess);
            }
            "NOTIFICATION_INTEGRATION" | "ERROR_INTEGRATION" | "SUCCESS_INTEGRATION" => {
                self.listed(O::Integration);
            }
            "EXTERNAL_VOLUME" => {
                self.listed(O::ExternalVolume);
                self.effect(Effect::ExternalAccess);
            }
            "URL" | "STORAGE_ALLOWED_LOCATIONS" | "API_ALLOWED_PREFIXES" | "STORAGE_LOCATIONS"
                if is_definition(self.into.class) =>
            {
                self.effect(Effect::ExternalAccess);
            }
            "ALLOWED_NETWORK_RULE_LIST" | "BLOCKED_NETWORK_RULE_LIST" | "ALLOWED_NETWORK_RULES" => {
                self.listed(O::NetworkRule);
            }
            "NETWORK_POLICY" => {
                self.listed(O::NetworkPolicy);
                self.effect(Effect::PolicyChange);
            }
            "RESOURCE_MONITOR" => self.listed(O::ResourceMonitor),
            "DEFAULT_ROLE" => self.listed(O::Role),
            "GIT_CREDENTIALS" | "API_KEY_SECRET" => self.listed(O::Secret),
            "SECRETS" => self.secrets(),
            "COMPUTE_POOL" => self.listed(O::ComputePool),
            "FORMAT_NAME" => self.listed(O::FileFormat),
            "PASSWORD" | "RSA_PUBLIC_KEY" | "RSA_PUBLIC_KEY_2" if self.into.class == Class::Administer => {
                self.effect(Effect::MintsCredential);
                self.credential(word);
            }
            _ => self.credential(word),
        }
    }

    /// `DEFAULT_NAMESPACE = d.s`, or a database alone.
    fn namespace(&mut self) {
        let mut ahead = self.at;
        let parts = match ahead.peek() {
            Some(Token::SingleQuotedString(text)) => quoted_parts(text, self.names),
            _ => ahead.name(self.names),
        };
        let is_schema = parts.is_some_and(|parts| parts.len() > 1);
        self.named(if is_schema { Thing::Schema } else { Thing::Database });
    }

    /// `CATALOG = 'SNOWFLAKE'`.
    fn is_own_catalog(&self) -> bool {
        matches!(self.at.peek(), Some(Token::SingleQuotedString(text)) if text.eq_ignore_ascii_case("SNOWFLAKE"))
    }

    fn credential(&mut self, word: &str) {
        let is_text =
            matches!(self.at.peek(), Some(Token::SingleQuotedString(_) | Token::DollarQuotedString(_)));
        if is_text && is_credential(word) {
            self.effect(Effect::CredentialInText);
        }
    }

    /// A name, or names in parentheses, after `word =`.
    fn listed(&mut self, kind: ObjectKind) {
        let is_list = self.at.take_token(&Token::LParen);
        loop {
            let parts = match self.at.peek() {
                Some(Token::SingleQuotedString(text)) => {
                    self.at.pass(1);
                    quoted_parts(text, self.names)
                }
                _ => self.at.name(self.names),
            };
            let Some(parts) = parts else { break };
            self.object(kind, &parts, Access::Read);
            if !(is_list && self.at.take_token(&Token::Comma)) {
                break;
            }
        }
    }

    /// The name after `POLICY` or `TAG`. `TAG` takes several: `SET TAG a = 'x', b = 'y'`.
    fn mentioned(&mut self, kind: ObjectKind, effect: Effect) {
        self.effect(effect);
        let _exists = self.at.take(&["IF", "NOT", "EXISTS"]) || self.at.take(&["IF", "EXISTS"]);
        loop {
            if survey::is_reserved(&self.at.word()) {
                return;
            }
            let Some(parts) = self.at.name(self.names) else { return };
            self.object(kind, &parts, Access::Read);
            if kind != ObjectKind::Tag {
                return;
            }
            if self.at.take_token(&Token::Eq) {
                self.at.pass(1);
            }
            if !self.at.take_token(&Token::Comma) {
                return;
            }
        }
    }

    /// `@stage/path`, `@~/path`, `@%table/path`.
    fn stage(&mut self) {
        self.at.pass(1);
        match self.at.peek() {
            // The stages of the user and of a table belong to those.
            Some(Token::Tilde | Token::Mod) => self.at.pass(1),
            _ => {
                if let Some(parts) = self.at.name(self.names) {
                    self.object(ObjectKind::Stage, &parts, self.stage_access());
                }
            }
        }
    }

    fn stage_access(&self) -> Access {
        let is_first = !self.into.objects.iter().any(|used| used.kind == ObjectKind::Stage);
        match self.into.class {
            Class::CopyUnload | Class::CopyFiles | Class::Put | Class::Remove if is_first => Access::Write,
            _ => Access::Read,
        }
    }

    fn quoted_stage(&mut self, text: &str) {
        let path = text.get(1..).unwrap_or_default();
        let name = path.split('/').next().unwrap_or_default();
        if let Some(parts) = quoted_parts(name, self.names) {
            self.object(ObjectKind::Stage, &parts, self.stage_access());
        }
    }

    /// Whether a text here is the place of files, and no data.
    fn is_file_place(&self) -> bool {
        let before = Upper::of(self.at.behind().and_then(crate::cursor::word).unwrap_or_default());
        matches!(before.as_str(), "FROM" | "INTO" | "PUT" | "GET" | "LIST" | "LS" | "REMOVE" | "RM" | "JOIN")
            || self.into.class.group() == Group::Unload
            || is_definition(self.into.class)
            || (self.at.behind() == Some(&Token::RArrow) && self.at.back(2).is_some_and(is_location))
    }

    fn object(&mut self, kind: ObjectKind, parts: &Parts, access: Access) {
        if let Some(name) = self.names.object(kind, parts) {
            let used = ObjectUse { kind, name, access, fallback: false };
            if !self.into.objects.iter().any(|known| known.kind == kind && known.name == used.name) {
                self.into.objects.push(used);
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        self.into.effects.insert(effect);
    }
}

/// The parts of a name that stands in a text: `'db.schema.name'`.
pub(crate) fn quoted_parts(text: &str, names: &SessionNames) -> Option<Parts> {
    let tokens = crate::lex::tokens(text).ok()?;
    let significant: Vec<&TokenWithSpan> =
        tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)).collect();
    let mut at = Cursor::new(&significant);
    at.name(names).filter(|_| at.is_at_end())
}

fn is_definition(class: Class) -> bool {
    matches!(class.group(), Group::Ddl | Group::Admin)
}

/// `LOCATION => '@stage/path'`.
fn is_location(token: &Token) -> bool {
    crate::cursor::word(token).is_some_and(|word| word.eq_ignore_ascii_case("LOCATION"))
}

/// Whether what is assigned to this word is a password, a key or a token.
pub(crate) fn is_credential(word: &str) -> bool {
    matches!(
        word,
        "PASSWORD"
            | "AWS_SECRET_KEY"
            | "AWS_KEY_ID"
            | "AWS_TOKEN"
            | "AZURE_SAS_TOKEN"
            | "MASTER_KEY"
            | "SECRET_STRING"
            | "OAUTH_CLIENT_SECRET"
            | "OAUTH_REFRESH_TOKEN"
            | "OAUTH_ACCESS_TOKEN"
            | "API_KEY"
            | "CLIENT_SECRET"
            | "ADMIN_PASSWORD"
            | "PRIVATE_KEY"
            | "BEARER_TOKEN"
            | "AWS_SNS_TOKEN"
            | "TOKEN"
            | "SECRET"
            | "GOOGLE_AUDIENCE_KEY"
            | "RSA_PRIVATE_KEY"
            | "ADMIN_RSA_PUBLIC_KEY"
    )
}
