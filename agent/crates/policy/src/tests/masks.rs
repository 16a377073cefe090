//! What the client gets to see.

use identity::Principal;
use model::{ColumnMeta, Mode, ResultSet, Rows};

use super::{ALLOW_ALL, READS, decide_in, policies, session, verified};
use crate::{Cleared, Decision, MaskedColumn, Policies, Tally};

fn column(name: &str) -> ColumnMeta {
    ColumnMeta {
        name: name.to_owned(),
        database: String::new(),
        schema: String::new(),
        table: String::new(),
        type_name: "text".to_owned(),
        nullable: false,
    }
}

fn from_table(name: &str, table: &str) -> ColumnMeta {
    ColumnMeta {
        database: "ANALYTICS".to_owned(),
        schema: "PUBLIC".to_owned(),
        table: table.to_owned(),
        ..column(name)
    }
}

fn clear_in(
    policies: &Policies,
    who: &Principal,
    sql: &str,
    columns: Vec<ColumnMeta>,
    mode: Mode,
) -> Cleared {
    let Decision::Permit(permit) = decide_in(policies, who, sql, mode, &session()) else {
        panic!("{sql} was refused");
    };
    let cells = columns.iter().map(|_| Some("ann@example.org".to_owned())).collect();
    let clearance = permit.spend().2.stand();
    let (owes_masks, owed) = (clearance.owes_masks(&columns), clearance.owed(&columns));
    assert_eq!(clearance.untouched(&columns).is_some(), !owes_masks);
    let is_unchanged = clearance.unchanged(&columns).is_some();
    let cleared = clearance.once().clear(ResultSet { columns, rows: Rows::Json(vec![cells]) }).unwrap();
    assert_eq!(owes_masks, !cleared.masked().is_empty());
    assert_eq!(is_unchanged, !owes_masks || (mode == Mode::Observe && cleared.found().is_empty()));
    let by_tags = cleared.masked().iter().filter(|column| !column.tags.is_empty());
    let uncounted = by_tags.map(|column| MaskedColumn { cells: 0, nulls: 0, rows: None, ..column.clone() });
    assert_eq!(owed, uncounted.collect::<Vec<_>>());
    cleared
}

/// The cells of one row in which every value is an address: `=` untouched, `@` domain kept, `4` last four kept, `0` NULL.
fn row_of(result: ResultSet) -> String {
    let Rows::Json(rows) = result.rows else { panic!("not JSON") };
    rows.into_iter()
        .flatten()
        .map(|cell| match cell.as_deref() {
            None => '0',
            Some("ann@example.org") => '=',
            Some("****@example.org") => '@',
            Some("****.org") => '4',
            Some(_) => '?',
        })
        .collect()
}

fn seen_by(policies: &Policies, sql: &str, columns: Vec<ColumnMeta>) -> String {
    row_of(clear_in(policies, &verified(), sql, columns, Mode::Enforce).into_result())
}

fn seen(sql: &str, columns: &[&str]) -> String {
    seen_by(&policies(READS), sql, columns.iter().map(|name| column(name)).collect())
}

#[test]
fn tagged_columns_are_masked_by_whatever_name_they_come() {
    for (sql, columns, expected) in [
        ("select id, email, ssn from customers", &["ID", "EMAIL", "SSN"][..], "=@4"),
        ("select email as x, ssn y from customers c", &["X", "Y"], "@4"),
        ("select \"EMAIL\" as \"name\" from customers", &["name"], "@"),
        ("select * from customers", &["ID", "NAME", "EMAIL", "SSN", "CITY", "CREATED_AT"], "==@4=="),
        ("select c.*, 1 from customers c", &["ID", "EMAIL", "SSN", "1"], "=@4="),
        ("select name, * from customers", &["NAME", "ID", "EMAIL", "SSN"], "==@4"),
        ("select * from customers, orders", &["ID", "SSN", "ID", "AMOUNT"], "=4=="),
        ("select a.*, ssn as x, b.* from customers a, orders b", &["ID", "SSN", "X", "ID"], "=44="),
        ("select ssn as a, a as b from customers", &["A", "B"], "44"),
        ("select upper(email), email || ssn, length(ssn) from customers", &["A", "B", "C"], "000"),
        ("select count(*), max(id), count(ssn) from customers", &["A", "B", "C"], "==0"),
        ("select case when id = 1 then ssn end, ssn::int from customers", &["A", "B"], "00"),
        ("select (ssn) from customers", &["(SSN)"], "4"),
        ("select id from customers where ssn = 'x'", &["ID"], "="),
        ("with x as (select * from customers) select id, ssn from x", &["ID", "SSN"], "=4"),
        ("select id from (select ssn as id from customers)", &["ID"], "4"),
        ("select city from customers union select ssn from customers", &["CITY"], "4"),
        ("select * rename (ssn as x) from customers", &["ID", "X"], "=4"),
        ("select o.id, email from customers join orders o using (id)", &["ID", "EMAIL"], "=@"),
    ] {
        assert_eq!(seen(sql, columns), expected, "{sql}");
    }
}

#[test]
fn what_is_unknown_over_a_tagged_table_is_null() {
    for (sql, columns, expected) in [
        ("select $4, id from customers", &["$4", "ID"][..], "0="),
        ("select object_construct(*), id from customers", &["X", "ID"], "0="),
        ("select (select max(ssn) from customers), id from customers", &["X", "ID"], "0="),
        ("select value from customers, lateral flatten(input => [ssn])", &["VALUE"], "0"),
        // The server has more columns than the text tells.
        ("select id from customers", &["ID", "CITY"], "00"),
        ("select id, ssn, * from customers", &["ID"], "0"),
        ("with x as (select * from orders) select id from x", &["ID"], "="),
        ("select (select max(id) from orders), a from orders", &["X", "A"], "=="),
    ] {
        assert_eq!(seen(sql, columns), expected, "{sql}");
    }
}

#[test]
fn the_second_net_catches_names_that_came_by_another_way() {
    let reads = policies(READS);
    let net = |sql: &str, columns: Vec<ColumnMeta>| seen_by(&reads, sql, columns);
    // A view is a table as far as anybody here knows.
    assert_eq!(net("select email, id from a_view", vec![column("EMAIL"), column("ID")]), "@=");
    assert_eq!(net("select a from a_view", vec![from_table("SSN", "CUSTOMERS")]), "4");
    assert_eq!(net("select email from orders", vec![from_table("EMAIL", "ORDERS")]), "=");
    assert_eq!(net("select a as \"email\" from orders", vec![column("email")]), "@");
    // Nothing is read from any table.
    assert_eq!(net("select 'x' as email", vec![column("EMAIL")]), "=");
    assert_eq!(net("show tables", vec![column("email")]), "=");
}

#[test]
fn who_may_unmask_sees_the_column_and_no_other() {
    let rules = policies(&format!(
        "{READS} @id(\"sees-email\") permit (principal, action == Action::\"unmask\", resource)
         when {{ resource.tags.contains(\"email\") }};"
    ));
    let of = |names: &[&str]| names.iter().map(|name| column(name)).collect::<Vec<_>>();
    assert_eq!(seen_by(&rules, "select * from customers", of(&["ID", "EMAIL", "SSN"])), "==4");
    assert_eq!(seen_by(&rules, "select upper(email), ssn from customers", of(&["A", "B"])), "=4");
    assert_eq!(seen_by(&rules, "with x as (select 1) select email from customers", of(&["EMAIL"])), "=");
    let in_database = policies(&format!(
        "{READS} @id(\"u\") permit (principal, action == Action::\"unmask\", resource in Database::\"ANALYTICS\");"
    ));
    assert_eq!(seen_by(&in_database, "select * from customers", of(&["EMAIL", "SSN"])), "==");
    let elsewhere = policies(&format!(
        "{READS} @id(\"u\") permit (principal, action == Action::\"unmask\", resource in Database::\"OTHER\");"
    ));
    assert_eq!(seen_by(&elsewhere, "select * from customers", of(&["EMAIL", "SSN"])), "@4");
    let one = policies(&format!(
        "{READS} @id(\"u\") permit (principal, action == Action::\"unmask\", \
         resource == Column::\"ANALYTICS.PUBLIC.CUSTOMERS.SSN\");"
    ));
    assert_eq!(
        seen_by(&one, "select email, ssn as x, ssn from customers", of(&["EMAIL", "X", "SSN"])),
        "@=="
    );
}

#[test]
fn allow_all_touches_nothing() {
    let rules = policies(ALLOW_ALL);
    for sql in [
        "select * from customers",
        "with x as (select * from customers) select * from x",
        "select my_udf(ssn) from customers",
        "call p()",
        "select email from a_view",
    ] {
        for who in [verified(), super::observed(), super::nobody()] {
            let cleared = clear_in(&rules, &who, sql, vec![column("EMAIL")], Mode::Enforce);
            assert!(cleared.masked().is_empty());
            assert_eq!(row_of(cleared.into_result()), "=", "{sql}");
        }
    }
}

#[test]
fn code_that_may_read_anything_is_masked_whatever_it_names() {
    let rules = policies(&format!(
        "{READS} @id(\"calls\") permit (principal, action in Action::\"execute\", resource);"
    ));
    let of = |names: &[&str]| names.iter().map(|name| column(name)).collect::<Vec<_>>();
    assert_eq!(seen_by(&rules, "call p()", of(&["A", "B"])), "00");
    assert_eq!(seen_by(&rules, "select my_udf(id), id from orders", of(&["A", "ID"])), "0=");
}

#[test]
fn the_record_gets_names_tags_masks_and_counts() {
    let cleared = clear_in(
        &policies(READS),
        &verified(),
        "select ssn from customers",
        vec![column("SSN")],
        Mode::Enforce,
    );
    let masked = cleared.masked();
    assert_eq!((masked[0].name.as_str(), masked[0].mask, masked[0].cells), ("SSN", "partial", 1));
    assert_eq!(masked[0].tags, ["pii", "ssn"]);
    assert_eq!(cleared.rows(), 1);
}

#[test]
fn observe_mode_lists_and_changes_nothing() {
    let cleared = clear_in(
        &policies(READS),
        &verified(),
        "select ssn from customers",
        vec![column("SSN")],
        Mode::Observe,
    );
    assert_eq!((cleared.masked().len(), cleared.masked()[0].cells), (1, 0));
    assert!(!cleared.is_enforced());
    assert_eq!(row_of(cleared.into_result()), "=");
}

#[test]
fn a_standing_clearance_owes_each_reading_the_same() {
    let rules = policies(READS);
    let Decision::Permit(permit) =
        decide_in(&rules, &verified(), "select ssn from customers", Mode::Enforce, &session())
    else {
        panic!("refused");
    };
    let standing = permit.spend().2.stand();
    assert_eq!(standing.query_id(), super::query_id());
    for reading in 0..3 {
        let row = vec![Some("ann@example.org".to_owned())];
        let result = ResultSet { columns: vec![column("SSN")], rows: Rows::Json(vec![row]) };
        let cleared = standing.once().clear(result).unwrap();
        assert!(cleared.is_enforced());
        assert_eq!((cleared.rows(), cleared.masked()[0].cells), (1, 1), "reading {reading}");
        assert_eq!(row_of(cleared.into_result()), "4", "reading {reading}");
    }
}

#[test]
fn a_rule_may_let_a_column_be_seen_in_part() {
    // Three letters are left of an address: another mask than any of the tags asks for.
    let seen = |rules: &str| {
        let rules = policies(&format!("{READS} {rules}"));
        seen_by(&rules, "select email, ssn from customers", vec![column("EMAIL"), column("SSN")])
    };
    let rule = |id: &str, mask: &str, tag: &str| {
        format!(
            "@id(\"{id}\") {mask} permit (principal, action == Action::\"unmask\", resource) when {{ resource.tags.contains(\"{tag}\") }};"
        )
    };
    let (all, last, none) = (
        rule("a", "", "pii"),
        rule("b", "@mask(\"keep-last:3\")", "pii"),
        rule("c", "@mask(\"null\")", "pii"),
    );
    assert_eq!(seen(""), "@4");
    assert_eq!(seen(&last), "??");
    assert_eq!(seen(&all), "==");
    assert_eq!(seen(&format!("{all}{last}")), "==", "without a mask all is seen");
    assert_eq!(seen(&format!("{last}{none}")), "00", "of two masks none shows more than the other");
    assert_eq!(seen(&rule("d", "@mask(\"keep-last:3\")", "ssn")), "@?");
}

#[test]
fn a_path_masks_parts_of_documents_and_hides_what_is_made_of_the_column() {
    let tagged = |more: &str| {
        let text = format!(
            "[[column]]\npattern = \"*.*.EVENTS.BODY:who.email\"\ntags = [\"email\"]\n\
             [[column]]\npattern = \"*.*.EVENTS.BODY:card\"\ntags = [\"card\"]\n{more}[tags.email]\nmask = \"keep-domain\"\n"
        );
        let file = |text: &str| crate::PolicyFile { name: "p.cedar".into(), text: text.into() };
        let unmask = "@id(\"u\") permit (principal, action == Action::\"unmask\", resource) \
                      when { resource.tags.contains(\"email\") };";
        let classification = crate::Classification::parse("c.toml", &text).unwrap();
        let plain = Policies::compile(&[file(READS)], classification.clone()).unwrap();
        let seeing = Policies::compile(&[file(&format!("{READS} {unmask}"))], classification).unwrap();
        (plain, seeing)
    };
    let document = r#"{"who":{"email":"ann@example.org"},"card":"4111","n":1.50}"#;
    let seen = |policies: &Policies, sql: &str| {
        let Decision::Permit(permit) = decide_in(policies, &verified(), sql, Mode::Enforce, &session())
        else {
            panic!("{sql} was refused");
        };
        let columns = vec![ColumnMeta { type_name: "variant".to_owned(), ..column("BODY") }];
        let rows = Rows::Json(vec![vec![Some(document.to_owned())]]);
        let cleared = permit.spend().2.clear(ResultSet { columns, rows }).unwrap();
        let masked = cleared.masked().to_vec();
        let Rows::Json(rows) = cleared.into_result().rows else { panic!("not JSON") };
        (rows.into_iter().flatten().next().unwrap(), masked)
    };
    let (plain, seeing) = tagged("");
    let (cell, masked) = seen(&plain, "select body from events");
    assert_eq!(cell.as_deref(), Some(r#"{"who":{"email":"****@example.org"},"card":null,"n":1.50}"#));
    assert_eq!(
        (masked[0].cells, masked[0].tags.as_slice()),
        (1, &["card".to_owned(), "email".to_owned()][..])
    );
    let (cell, _) = seen(&plain, "select b.body as \"BODY\" from events b");
    assert!(!cell.unwrap().contains("ann@"));
    assert_eq!(
        seen(&plain, "select body:n from events").0,
        None,
        "what is made of the column is not looked into"
    );
    let (cell, _) = seen(&seeing, "select body from events");
    assert_eq!(cell.as_deref(), Some(r#"{"who":{"email":"ann@example.org"},"card":null,"n":1.50}"#));
    // A tag of the whole column without a mask, or with another one, leaves nothing of it.
    for more in ["", "[tags.whole]\nmask = \"partial\"\n"] {
        let whole = format!("[[column]]\npattern = \"*.*.EVENTS.BODY\"\ntags = [\"whole\"]\n{more}");
        assert_eq!(seen(&tagged(&whole).0, "select body from events").0, None);
    }
}

#[test]
fn detectors_look_where_no_tag_tells_and_what_they_find_is_told() {
    let text = "[[column]]\npattern = \"*.*.*.EMAIL\"\ntags = [\"email\"]\n[tags.email]\nmask = \"keep-domain\"\n\
                [[detector]]\nfind = [\"email\"]\ncolumns = \"*.*.*.NOTE\"\nmask = \"partial\"\n\
                [[detector]]\nfind = [\"email\"]\n";
    let unmask = "@id(\"u\") permit (principal, action == Action::\"unmask\", resource);";
    let rules = |text: &str, rules: &str| {
        let file = crate::PolicyFile { name: "p.cedar".into(), text: format!("{READS} {rules}") };
        Policies::compile(&[file], crate::Classification::parse("c.toml", text).unwrap()).unwrap()
    };
    let plain = rules(text, "");
    let clear = |policies: &Policies, mode| {
        let columns = vec![column("EMAIL"), column("NOTE"), column("CITY")];
        clear_in(policies, &verified(), "select email, note, city from customers", columns, mode)
    };
    let cleared = clear(&plain, Mode::Enforce);
    let found: Vec<_> =
        cleared.found().iter().map(|f| (f.name.as_str(), f.detector, f.rows, f.masked)).collect();
    assert_eq!(found, [("NOTE", "email", 1, true), ("CITY", "email", 1, false)]);
    let masked: Vec<_> =
        cleared.masked().iter().map(|m| (m.name.as_str(), m.mask, m.tags.len(), m.cells)).collect();
    assert_eq!(masked, [("EMAIL", "keep-domain", 1, 1), ("NOTE", "partial", 0, 1)]);
    assert_eq!(cleared.masked()[0].rows, Some((0, 0)));
    assert_eq!(row_of(cleared.into_result()), "@4=");

    let observed = clear(&plain, Mode::Observe);
    assert_eq!(
        observed.found().iter().map(|f| (f.rows, f.masked)).collect::<Vec<_>>(),
        [(1, false), (1, false)]
    );
    assert_eq!((observed.masked().len(), row_of(observed.into_result()).as_str()), (1, "==="));

    // Who may see a tagged column is told nothing of it; other columns are looked at whoever asks.
    let cleared = clear(&rules(text, unmask), Mode::Enforce);
    assert_eq!(cleared.found().iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["NOTE", "CITY"]);
    assert_eq!(row_of(cleared.into_result()), "=4=");
    assert_eq!(plain.classified().detectors, 2);
}

#[test]
fn batches_of_one_result_are_told_as_one() {
    let text = "[[column]]\npattern = \"*.*.*.EMAIL\"\ntags = [\"email\"]\n[tags.email]\nmask = \"keep-domain\"\n\
                [[detector]]\nfind = [\"email\"]\ncolumns = \"*.*.*.NOTE\"\nmask = \"partial\"\n";
    let file = crate::PolicyFile { name: "p.cedar".into(), text: READS.into() };
    let rules = Policies::compile(&[file], crate::Classification::parse("c.toml", text).unwrap()).unwrap();
    let sql = "select email, note from customers";
    let Decision::Permit(permit) = decide_in(&rules, &verified(), sql, Mode::Enforce, &session()) else {
        panic!("refused");
    };
    let (clearance, columns) = (permit.spend().2.stand(), vec![column("EMAIL"), column("NOTE")]);
    let mut tally = Tally::of(&clearance, &columns);
    assert_eq!(tally.masked.iter().map(|m| (m.name.as_str(), m.cells)).collect::<Vec<_>>(), [("EMAIL", 0)]);
    let ann = || Some("ann@example.org".to_owned());
    for rows in [
        vec![vec![None, Some("nothing".to_owned())], vec![ann(), None]],
        vec![vec![None, ann()]],
        vec![vec![ann(), ann()]],
    ] {
        let batch = ResultSet { columns: columns.clone(), rows: Rows::Json(rows) };
        tally.add(&clearance.once().clear(batch).unwrap());
    }
    let told: Vec<_> =
        tally.masked.iter().map(|m| (m.name.as_str(), m.mask, m.cells, m.nulls, m.rows)).collect();
    let [by_tag, by_detector] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(*by_tag, ("EMAIL", "keep-domain", 2, 2, Some((1, 3))));
    assert_eq!((by_detector.1, by_detector.2, by_detector.4), ("partial", 2, Some((2, 3))));
    assert_eq!(tally.found.iter().map(|f| (f.rows, f.masked)).collect::<Vec<_>>(), [(2, true)]);
    assert_eq!(tally.rows, 4);
}

#[test]
fn rows_in_which_something_is_looked_for_must_be_read() {
    let text = "[[detector]]\nfind = [\"jwt\"]\ncolumns = \"*.*.*.NOTE\"\n";
    let file = crate::PolicyFile { name: "p.cedar".into(), text: READS.into() };
    let rules = Policies::compile(&[file], crate::Classification::parse("c.toml", text).unwrap()).unwrap();
    let standing = |sql: &str| {
        let Decision::Permit(permit) = decide_in(&rules, &verified(), sql, Mode::Enforce, &session()) else {
            panic!("refused");
        };
        permit.spend().2.stand()
    };
    let shown = standing("select note, city from customers");
    assert!(shown.owes_masks(&[column("NOTE")]) && shown.untouched(&[column("NOTE")]).is_none());
    assert!(!shown.owes_masks(&[column("CITY")]) && shown.untouched(&[column("CITY")]).is_some());
    assert!(shown.once().may_mask());
    let told = standing("show tables");
    assert!(!told.owes_masks(&[column("NOTE")]) && !told.once().may_mask());
}
