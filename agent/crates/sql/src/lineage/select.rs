//! A select list: what each of its entries shows, and which of them name each other.

use std::collections::BTreeSet;

use model::Ident;
use sqlparser::ast::{
    ExcludeSelectItem, Expr, FunctionArguments, IlikeSelectItem, OrderBy, RenameSelectItem,
    ReplaceSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, Value, WildcardAdditionalOptions,
};

use super::{
    Walk,
    flow::Flow,
    from::conditions,
    like,
    relation::{Column, Part, Relation, Rest, same_but_case},
    scope::{Aliases, Mention, Pending, Scope},
};

/// Select lists longer than this, in which entries name each other, are not followed.
const ALIASES_FOLLOWED_MAX: usize = 1024;

/// An entry of a select list.
struct Item<'c> {
    relation: Relation<'c>,
    /// Entries of the same list that it may mean by a name.
    mentions: Vec<Mention>,
}

impl<'c> Walk<'c> {
    /// The columns of a `SELECT`, ordered by what is given.
    pub(super) fn select(
        &mut self,
        select: &Select,
        order_by: Option<&OrderBy>,
        outer: Option<&Scope<'_, 'c>>,
    ) -> Relation<'c> {
        let given = std::mem::take(&mut self.given);
        let tables = self.from(&select.from, outer);
        let bare = Scope::of(&tables, outer);
        let windows = (!select.named_window.is_empty()).then(|| self.named_windows(select, &bare));
        let names: Vec<Option<Ident>> = select.projection.iter().map(|item| self.alias(item)).collect();
        self.selects += 1;
        let number = self.selects;
        let scope = Scope { windows: windows.as_ref(), ..bare };
        let mut items: Vec<Item<'c>> = Vec::with_capacity(select.projection.len());
        for (at, item) in select.projection.iter().enumerate() {
            let pending = Pending { list: number, names: &names, at };
            items.push(self.item(item, number, &Scope { aliases: Aliases::Pending(pending), ..scope }));
            if self.is_spent() {
                return Relation::unknown();
            }
        }
        self.follow_aliases(&mut items);
        let mut known: Vec<(Option<Ident>, Flow)> = names
            .into_iter()
            .zip(&items)
            .map(|(name, item)| (name, item.relation.everything(&mut self.bases)))
            .collect();
        self.decide_by_alias(select, &known, &bare);
        let listed = known.len();
        let renamed = given.into_iter().zip(&known).map(|(name, (_, flow))| (Some(name), flow.clone()));
        let renamed: Vec<_> = renamed.collect();
        known.extend(renamed);
        let scope = Scope { aliases: Aliases::Known(&known), windows: windows.as_ref(), ..bare };
        self.clauses(select, &scope, known.get(..listed).unwrap_or_default());
        let mut all = Relation::default();
        for item in items {
            all.append(item.relation);
        }
        if !is_followed(select) {
            let mut flow = all.everything(&mut self.bases);
            flow.absorb(&Flow::unknown());
            return Relation::anything(flow);
        }
        if let Some(order_by) = order_by {
            let mut outputs = Flow::default();
            known.iter().take(listed).for_each(|(_, flow)| outputs.absorb(flow));
            self.order_by(order_by, &outputs, &scope);
        }
        all
    }

    /// Snowflake lets the condition of a join name an entry of the select list.
    fn decide_by_alias(&mut self, select: &Select, known: &[(Option<Ident>, Flow)], bare: &Scope<'_, 'c>) {
        let is_alias = |name: &Ident| {
            known.iter().any(|(alias, _)| alias.as_ref().is_some_and(|alias| same_but_case(alias, name)))
        };
        for condition in conditions(&select.from) {
            let mut names_one = false;
            super::each_column(condition, &mut |parts| {
                names_one |= matches!(parts, [part] if is_alias(&self.names.ident(part)));
            });
            if names_one {
                self.decide([condition], &Scope { aliases: Aliases::Known(known), ..*bare });
            }
        }
    }

    /// The name under which other entries can mean this one. Without an alias it is the column's own, which they find
    /// anyway; one that is made from the text is `None`.
    fn alias(&self, item: &SelectItem) -> Option<Ident> {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(self.names.ident(alias)),
            SelectItem::UnnamedExpr(expr) if own_name(expr).is_none() => None,
            // Whatever it shows is found among the columns; no name is empty.
            SelectItem::UnnamedExpr(_)
            | SelectItem::Wildcard(_)
            | SelectItem::QualifiedWildcard(..)
            | SelectItem::ExprWithAliases { .. } => Some(Ident::exact("")),
        }
    }

    fn item(&mut self, item: &SelectItem, number: usize, scope: &Scope<'_, 'c>) -> Item<'c> {
        let before = std::mem::take(&mut self.mentions);
        let relation = match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = own_name(expr).map(|ident| self.names.ident(ident));
                let flow = self.expression(expr, scope);
                let may_be_word = may_be_word(expr);
                Relation::columns([Column { name, may_be_word, flow }])
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let name = self.names.ident(alias);
                Relation::columns([Column::named(name, self.expression(expr, scope))])
            }
            SelectItem::Wildcard(options) => {
                let all = self.star(scope.tables);
                self.changed(all, options, scope)
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let parts: Vec<Ident> =
                    self.names.parts(name).unwrap_or_default().into_iter().flatten().collect();
                let mut all = Relation::default();
                for relation in self.called_from(&parts, scope) {
                    self.spend(relation.len());
                    all.append(Relation::clone(&relation));
                }
                if all == Relation::default() {
                    all = Relation::unknown();
                }
                self.changed(all, options, scope)
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _)
            | SelectItem::ExprWithAliases { expr, .. } => {
                let mut flow = self.expression(expr, scope);
                flow.absorb(&Flow::unknown());
                Relation::anything(flow)
            }
        };
        let (own, others): (Vec<_>, Vec<_>) = std::mem::replace(&mut self.mentions, before)
            .into_iter()
            .partition(|mention| mention.list == number);
        self.mentions.extend(others);
        Item { relation, mentions: own }
    }

    /// The tables of the nearest `FROM` clause that have one called so.
    fn called_from(&self, parts: &[Ident], scope: &Scope<'_, 'c>) -> Vec<std::rc::Rc<Relation<'c>>> {
        let mut at = Some(scope);
        while let Some(scope) = at {
            let relations = self.called(scope.tables, parts);
            if !relations.is_empty() {
                return relations;
            }
            at = scope.outer;
        }
        Vec::new()
    }

    /// What the options of a wildcard leave of it, in the order in which Snowflake applies them.
    fn changed(
        &mut self,
        mut all: Relation<'c>,
        options: &WildcardAdditionalOptions,
        scope: &Scope<'_, 'c>,
    ) -> Relation<'c> {
        let WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        if opt_except.is_some() || opt_alias.is_some() {
            return Relation::anything(all.everything(&mut self.bases));
        }
        if let Some(ilike) = opt_ilike {
            all = self.filtered(all, ilike);
        }
        if let Some(exclude) = opt_exclude {
            let names = match exclude {
                ExcludeSelectItem::Single(name) => std::slice::from_ref(name),
                ExcludeSelectItem::Multiple(names) => names.as_slice(),
            };
            let mut left_out = Vec::new();
            for name in names {
                match self.names.parts(name).unwrap_or_default().as_slice() {
                    [Some(name)] => left_out.push(name.clone()),
                    _ => return Relation::anything(all.everything(&mut self.bases)),
                }
            }
            self.spend(all.len() * (left_out.len() + 1));
            self.leave_out(&mut all, &left_out);
        }
        if let Some(replace) = opt_replace {
            all = self.replaced(all, replace, scope);
        }
        if let Some(rename) = opt_rename {
            let pairs = match rename {
                RenameSelectItem::Single(pair) => std::slice::from_ref(pair),
                RenameSelectItem::Multiple(pairs) => pairs.as_slice(),
            };
            let pairs: Vec<(Ident, Ident)> = pairs
                .iter()
                .map(|pair| (self.names.ident(&pair.ident), self.names.ident(&pair.alias)))
                .collect();
            all = self.renamed(all, pairs);
        }
        all
    }

    /// `ILIKE '…'`: the columns whose names are like that.
    fn filtered(&mut self, all: Relation<'c>, ilike: &IlikeSelectItem) -> Relation<'c> {
        // How a backslash counts in it is told nowhere.
        if ilike.pattern.contains('\\') {
            return Relation::anything(all.everything(&mut self.bases));
        }
        let mut parts = Vec::new();
        for part in all.parts {
            match part {
                Part::Column(column) => match &column.name {
                    Some(name) if like::matches(name.as_str(), &ilike.pattern) => {
                        parts.push(Part::Column(column))
                    }
                    Some(_) => {}
                    None => parts.extend(Relation::anything(column.flow).parts),
                },
                Part::Table { table, columns } => {
                    self.spend(columns.len());
                    for name in columns.iter().filter(|name| like::matches(name.as_str(), &ilike.pattern)) {
                        parts.push(Part::Column(Column::named(name.clone(), self.bases.column(table, name))));
                    }
                }
                Part::Rest(rest) => parts.push(Part::Rest(rest)),
            }
        }
        // Pieces have moved.
        let shuffled_from = all.shuffled_from.map(|_| 0);
        Relation { parts, shuffled_from }
    }

    /// `REPLACE (expression AS column)`: another content in the same place.
    fn replaced(
        &mut self,
        all: Relation<'c>,
        replace: &ReplaceSelectItem,
        scope: &Scope<'_, 'c>,
    ) -> Relation<'c> {
        let mut relation = all;
        for item in &replace.items {
            let name = self.names.ident(&item.column_name);
            let flow = self.expression(&item.expr, scope).derived();
            relation = self.exchange(relation, &name, &name, Some(flow));
        }
        relation
    }

    /// `RENAME (column AS name)`.
    fn renamed(&mut self, all: Relation<'c>, pairs: Vec<(Ident, Ident)>) -> Relation<'c> {
        let mut relation = all;
        // All at once: by way of names that nothing has.
        let between = |at: usize| Ident::exact(format!("\0{at}"));
        for (at, (from, _)) in pairs.iter().enumerate() {
            relation = self.exchange(relation, from, &between(at), None);
        }
        for (at, (_, to)) in pairs.iter().enumerate() {
            for part in &mut relation.parts {
                match part {
                    Part::Column(column) if column.name.as_ref() == Some(&between(at)) => {
                        column.name = Some(to.clone());
                    }
                    Part::Column(_) | Part::Table { .. } | Part::Rest(_) => {}
                }
            }
        }
        relation
    }

    /// Gives a column another name, or another content. Where it stands among columns that are not known is not known.
    fn exchange(
        &mut self,
        all: Relation<'c>,
        from: &Ident,
        to: &Ident,
        content: Option<Flow>,
    ) -> Relation<'c> {
        self.spend(all.len());
        let mut relation = Relation { parts: Vec::new(), shuffled_from: all.shuffled_from };
        let mut loose: Option<Flow> = None;
        for (at, part) in all.parts.into_iter().enumerate() {
            if all.shuffled_from == Some(at) {
                relation.shuffled_from = Some(relation.parts.len());
            }
            match part {
                Part::Column(column) if column.name.as_ref() == Some(from) => {
                    let flow = content.clone().unwrap_or(column.flow);
                    relation.parts.push(Part::Column(Column::named(to.clone(), flow)));
                }
                Part::Table { table, columns } if columns.contains(from) => {
                    for own in columns {
                        let mut flow = self.bases.column(table, own);
                        let name = if own == from { to } else { own };
                        if let (true, Some(content)) = (own == from, &content) {
                            flow = content.clone();
                        }
                        relation.parts.push(Part::Column(Column::named(name.clone(), flow)));
                    }
                }
                Part::Rest(rest) => {
                    let mut flow = rest.flow.clone();
                    for table in &rest.tables {
                        flow.absorb(&self.bases.column(*table, from));
                    }
                    loose.get_or_insert_default().absorb(&content.clone().unwrap_or(flow));
                    relation.shuffled_from.get_or_insert(relation.parts.len());
                    let without = rest.without.iter().cloned().chain([from.clone()]).collect();
                    relation.parts.push(Part::Rest(Rest { without, ..rest }));
                }
                part @ (Part::Column(_) | Part::Table { .. }) => relation.parts.push(part),
            }
        }
        if let Some(flow) = loose {
            relation.parts.push(Part::Column(Column::named(to.clone(), flow)));
        }
        relation
    }

    /// Snowflake lets an entry name another one of the same list. A name may mean a column or that entry, so both count.
    fn follow_aliases(&mut self, items: &mut [Item<'c>]) {
        if items.iter().all(|item| item.mentions.is_empty()) {
            return;
        }
        if items.len() > ALIASES_FOLLOWED_MAX {
            items.iter_mut().for_each(|item| item.relation = reached(&item.relation, &Flow::unknown()));
            return;
        }
        // Each round carries what reaches one entry a step further; there are no more steps than entries.
        for _ in 0..items.len() {
            let mut changed = false;
            for at in 0..items.len() {
                let mut flow = Flow::default();
                for mention in items.get(at).map(|item| item.mentions.clone()).unwrap_or_default() {
                    if let Some(item) = items.get(mention.at) {
                        flow.absorb(&item.relation.everything(&mut self.bases));
                    }
                }
                self.spend(flow.len());
                let Some(item) = items.get_mut(at).filter(|_| !flow.is_nothing()) else { continue };
                let next = reached(&item.relation, &flow);
                changed |= next != item.relation;
                item.relation = next;
            }
            if !changed || self.is_spent() {
                break;
            }
        }
        let deciding: BTreeSet<usize> = items
            .iter()
            .flat_map(|item| &item.mentions)
            .filter(|mention| mention.decides)
            .map(|m| m.at)
            .collect();
        for item in deciding.into_iter().filter_map(|at| items.get(at)) {
            let flow = item.relation.everything(&mut self.bases);
            self.decides.absorb(&flow);
        }
    }
}

/// The same columns, which something else can reach, too.
fn reached<'c>(relation: &Relation<'c>, flow: &Flow) -> Relation<'c> {
    let mut relation = relation.clone();
    for part in &mut relation.parts {
        match part {
            Part::Column(column) => column.flow.absorb(flow),
            Part::Rest(rest) => rest.flow.absorb(flow),
            // A wildcard mentions nothing.
            Part::Table { .. } => {}
        }
    }
    relation
}

/// Whether all of a `SELECT` is followed: the rest is not Snowflake's.
fn is_followed(select: &Select) -> bool {
    use sqlparser::ast::{Distinct, SelectFlavor};
    select.lateral_views.is_empty()
        && select.value_table_mode.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && !matches!(select.distinct, Some(Distinct::On(_)))
        && select.flavor == SelectFlavor::Standard
}

/// The name of a column that an expression is.
fn own_name(expr: &Expr) -> Option<&sqlparser::ast::Ident> {
    match expr {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    }
}

/// Whether the name that Snowflake makes of an expression could be a plain word.
fn may_be_word(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(_)
        | Expr::Prior(_)
        | Expr::Cast { .. }
        | Expr::Collate { .. }
        | Expr::UnaryOp { .. } => true,
        Expr::Function(call) => matches!(call.args, FunctionArguments::None),
        Expr::Value(value) => matches!(value.value, Value::Null | Value::Boolean(_) | Value::Placeholder(_)),
        _ => false,
    }
}
