//! Uses the crate `snowflake-connector-rs` as pipelines do.

use serde_json::{Value, json};
use snowfence_lab_rust_clients::{Answer, Client, failure, given, run};
use snowflake_connector_rs::{
    AuthConfig, CellValue, Client as Driver, ClientConfig, DynamicRow, Error, Session, SessionConfig,
};

struct Connector(Session);

impl Client for Connector {
    async fn connect() -> Result<Self, Value> {
        let session = SessionConfig::new()
            .with_database(given("DATABASE"))
            .with_schema(given("SCHEMA"))
            .with_warehouse(given("WAREHOUSE"))
            .with_role(given("ROLE"));
        let config =
            ClientConfig::new(given("USER"), given("ACCOUNT"), AuthConfig::password(given("PASSWORD")));
        let driver = Driver::new(config.with_session(session)).map_err(|error| told(&error))?;
        driver.create_session().await.map(Self).map_err(|error| told(&error))
    }

    async fn ask(&mut self, sql: &'static str) -> Answer {
        let cursor = self.0.query(sql).await.map_err(|error| told(&error))?;
        let columns: Vec<_> = cursor
            .schema()
            .columns()
            .iter()
            .map(|column| json!([column.name(), format!("{:?}", column.ty())]))
            .collect();
        let rows = cursor.collect::<Vec<DynamicRow>>().await.map_err(|error| told(&error))?;
        let rows: Vec<Vec<Value>> = rows.iter().map(|row| row.values().iter().map(cell).collect()).collect();
        Ok(json!({ "columns": columns, "rows": rows }))
    }

    /// The crate has no way to.
    async fn close(self) -> Answer {
        Ok(Value::Null)
    }
}

/// A value with its type.
fn cell(value: &CellValue) -> Value {
    match value {
        CellValue::Null => json!(["Null", "None"]),
        CellValue::String(text) => json!(["String", format!("'{text}'")]),
        other => {
            let written = format!("{other:?}");
            json!([written.split('(').next(), written])
        }
    }
}

fn told(error: &Error) -> Value {
    let message = error.snowflake_message().map_or_else(|| error.to_string(), str::to_owned);
    failure(&format!("{:?}", error.kind()), error.snowflake_code(), &message)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run::<Connector>().await;
}
