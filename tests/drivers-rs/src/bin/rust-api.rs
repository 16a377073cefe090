//! Uses the crate `snowflake-api` as pipelines do.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use serde_json::{Value, json};
use snowfence_lab_rust_clients::{Answer, Client, failure, given, run};
use snowflake_api::{QueryResult, SnowflakeApi, SnowflakeApiError};

struct Api(SnowflakeApi);

impl Client for Api {
    async fn connect() -> Result<Self, Value> {
        let names = ["WAREHOUSE", "DATABASE", "SCHEMA", "ROLE"].map(given);
        let [warehouse, database, schema, role] = names.each_ref().map(|name| Some(name.as_str()));
        let (account, user, password) = (given("ACCOUNT"), given("USER"), given("PASSWORD"));
        let api =
            SnowflakeApi::with_password_auth(&account, warehouse, database, schema, &user, role, &password)
                .map_err(|error| told(&error))?;
        // It logs in with the first statement.
        api.exec("SELECT 1 AS N").await.map_err(|error| told(&error))?;
        Ok(Self(api))
    }

    async fn ask(&mut self, sql: &'static str) -> Answer {
        let rows = match self.0.exec(sql).await.map_err(|error| told(&error))? {
            QueryResult::Arrow(batches) => batches.iter().flat_map(rows).collect(),
            QueryResult::Json(result) => vec![result.value],
            QueryResult::Empty => Vec::new(),
        };
        Ok(json!({ "rows": rows }))
    }

    async fn close(mut self) -> Answer {
        self.0.close_session().await.map(|()| Value::Null).map_err(|error| told(&error))
    }
}

fn rows(batch: &RecordBatch) -> Vec<Value> {
    let row = |row| json!(batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>());
    (0..batch.num_rows()).map(row).collect()
}

/// A value with its type in Arrow.
fn cell(column: &dyn Array, row: usize) -> Value {
    let written = match column.as_string_opt::<i32>() {
        _ if column.is_null(row) => "None".to_owned(),
        Some(texts) => format!("'{}'", texts.value(row)),
        None => format!("{:?}", column.slice(row, 1)).split_whitespace().collect::<Vec<_>>().join(" "),
    };
    json!([column.data_type().to_string(), written])
}

fn told(error: &SnowflakeApiError) -> Value {
    match error {
        SnowflakeApiError::ApiError(code, message) => failure("ApiError", Some(code), message),
        other => failure("Other", None, &other.to_string()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run::<Api>().await;
}
