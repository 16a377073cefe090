//! Views show what their definitions read, and their own columns stand beside.

use super::{catalog, followed, known, session};
use crate::{Catalog, Table, table_name};

#[test]
fn views_are_followed() {
    known(&[
        ("select s from v_plain", "S=T.SSN|V_PLAIN.S"),
        ("select * from v_plain", "ID=T.ID|V_PLAIN.ID S=T.SSN|V_PLAIN.S"),
        ("select q, p from v_ddl where q = 'x'", "Q=T.B|V_DDL.Q P=T.A|V_DDL.P / T.B|V_DDL.Q"),
        ("select s2 from v_on_view", "S2=T.SSN|V_ON_VIEW.S2|V_PLAIN.S"),
        ("select pin from v_vault", "PIN=V_VAULT.PIN|ANALYTICS.VAULT.SECRET.PIN"),
        ("select n from v_union", "N=T.A|U.X|V_UNION.N"),
        (
            "with secret as (select a as k from t) select k, pin from v_vault",
            "K=V_VAULT.K|ANALYTICS.VAULT.SECRET.K PIN=V_VAULT.PIN|ANALYTICS.VAULT.SECRET.PIN",
        ),
        (
            "select x.s, y.s2 from v_plain x join v_on_view y on x.s = y.s2",
            "S=T.SSN|V_PLAIN.S S2=T.SSN|V_ON_VIEW.S2|V_PLAIN.S",
        ),
    ]);
}

#[test]
fn what_a_view_shows_may_be_unknown() {
    known(&[
        ("select a from v_circle", "A=?"),
        ("select a from v_broken", "A=?"),
        ("select a from v_changed", "A=?"),
        ("select a from v_unread", "A=NOWHERE.A|V_UNREAD.A"),
    ]);
}

#[test]
fn what_a_view_reads_is_wanted_too() {
    let session = session();
    let name = |text: &str| table_name(text, &session).unwrap();
    let mut some = catalog();
    some.remove_table(&name("t"));
    let text = model::SqlText::new("select s from v_plain").unwrap();
    let facts = crate::analyze(&text, &session, &some);
    assert_eq!(facts.wants().iter().collect::<Vec<_>>(), [&name("t")]);
    assert_eq!(followed("select s from v_plain", &some).0, "S=T.SSN|V_PLAIN.S");
}

#[test]
fn a_chain_of_views_has_an_end() {
    let session = session();
    let mut catalog = Catalog::default();
    let base = table_name("v0", &session).unwrap();
    catalog.insert_table(base, Table::with_columns([model::Ident::unquoted("a")]).into());
    for n in 1..60 {
        let definition = format!("select a from v{}", n - 1);
        let name = table_name(&format!("v{n}"), &session).unwrap();
        catalog.insert_table(name, super::view("A", &definition, &session).into());
    }
    assert_eq!(followed("select a from v3", &catalog).0, "A=V0.A|V1.A|V2.A|V3.A");
    assert_eq!(followed("select a from v59", &catalog).0, "A=?");
}

#[test]
fn a_name_is_that_of_the_first_table_there_is() {
    let away = crate::SessionNames { schema: Some(model::Ident::unquoted("raw")), ..session() };
    let line = |catalog: &Catalog| {
        let facts = crate::analyze(&model::SqlText::new("select a from t").unwrap(), &away, catalog);
        super::line_of(&facts.statements().unwrap()[0].outputs)
    };
    let mut catalog = catalog();
    assert_eq!(line(&catalog), "A=T.A|ANALYTICS.RAW.T.A");
    catalog.insert_missing(table_name("t", &away).unwrap());
    assert_eq!(line(&catalog), "A=T.A");
    catalog.insert_table(
        table_name("t", &away).unwrap(),
        Table::with_columns([model::Ident::unquoted("a")]).into(),
    );
    assert_eq!(line(&catalog), "A=ANALYTICS.RAW.T.A");
}
