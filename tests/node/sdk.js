// Uses Snowflake's driver for Node as pipelines do, and prints what it saw: one JSON object per scenario and line.
//
// Usage: node sdk.js [SCENARIO...]     (without names: all, in the order of this file)
//
// Nothing printed depends on the clock or on chance, so that two runs can be compared byte for byte.

'use strict';

const crypto = require('crypto');
const snowflake = require('snowflake-sdk');

const SAMPLE = 'SELECT ID, NAME, EMAIL, SSN, CITY, CREATED_AT FROM CUSTOMERS ORDER BY ID LIMIT 5';

// Otherwise it leaves a log file where the job runs.
snowflake.configure({ logLevel: 'OFF', logFilePath: 'STDOUT', additionalLogToConsole: false });

// Logs in with what the pipeline's author put into the environment.
async function connect() {
  const names = { account: 'ACCOUNT', username: 'USER', password: 'PASSWORD', database: 'DATABASE', schema: 'SCHEMA', warehouse: 'WAREHOUSE', role: 'ROLE' };
  const given = Object.entries(names).map(([option, name]) => [option, process.env[`SNOWFLAKE_${name}`]]);
  const connection = snowflake.createConnection(Object.fromEntries(given));
  await new Promise((resolve, reject) => connection.connect((error) => (error ? reject(error) : resolve())));
  return connection;
}

// What an error tells.
function failure(error) {
  return { class: error.name, errno: Number(error.code), sqlstate: error.sqlState ?? null, message: error.message };
}

// A value with its type, written as the other scripts write theirs.
function cell(value) {
  if (value === null || value === undefined) return ['null', 'None'];
  const written = typeof value === 'string' ? `'${value}'` : value instanceof Date ? value.toISOString() : JSON.stringify(value);
  return [value.constructor.name, written];
}

// Runs a statement to its end; without `streamed` the driver collects the rows by itself.
function execute(connection, sqlText, more = {}) {
  return new Promise((resolve, reject) => {
    const complete = (error, statement, rows) => (error ? reject(error) : resolve({ statement, rows }));
    connection.execute({ sqlText, rowMode: 'array', ...more, complete });
  });
}

// What the driver says of a result's columns.
function columns(statement) {
  const parts = ['getName', 'getType', 'getScale', 'getPrecision', 'isNullable'];
  return (statement.getColumns() || []).map((column) => parts.map((part) => column[part]()));
}

// All of a statement's answer.
async function ask(connection, sqlText, more) {
  const { statement, rows } = await execute(connection, sqlText, more);
  return {
    columns: columns(statement),
    rows: (rows || []).map((row) => row.map(cell)),
    count: statement.getNumRows(),
    changed: statement.getNumUpdatedRows(),
  };
}

// As `ask`, with an error as an answer.
async function attempt(connection, sqlText, more) {
  try {
    return await ask(connection, sqlText, more);
  } catch (error) {
    return { error: failure(error) };
  }
}

async function attempts(connection, statements) {
  const seen = {};
  for (const sqlText of statements) seen[sqlText] = await attempt(connection, sqlText);
  return seen;
}

const scenarios = {
  // That the session is there, also by its heartbeat.
  async login(connection) {
    return { up: connection.isUp(), valid: await connection.isValidAsync() };
  },

  // A few rows with every column.
  select: (connection) => ask(connection, SAMPLE),

  // The same rows without naming columns.
  star: (connection) => ask(connection, 'SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5'),

  // Expressions over columns.
  derived: (connection) => ask(connection, 'SELECT UPPER(EMAIL) AS E, LEFT(SSN, 3) AS S, CITY FROM CUSTOMERS ORDER BY ID LIMIT 3'),

  // Numbers about all rows.
  aggregate: (connection) => ask(connection, 'SELECT COUNT(*), COUNT(DISTINCT CITY), MIN(CREATED_AT) FROM CUSTOMERS'),

  // All rows, as their number and a digest; as a stream, as a pipeline reads them.
  async everything(connection) {
    const { statement } = await execute(connection, 'SELECT * FROM CUSTOMERS ORDER BY ID', { streamResult: true });
    const digest = crypto.createHash('sha256');
    let count = 0;
    for await (const row of statement.streamRows()) {
      digest.update(JSON.stringify(row.map(cell)));
      count += 1;
    }
    return { count, sha256: digest.digest('hex') };
  },

  // All rows, cell by cell.
  async all_rows(connection) {
    return { rows: (await ask(connection, 'SELECT * FROM CUSTOMERS ORDER BY ID')).rows };
  },

  // One value of each type.
  types: (connection) =>
    ask(
      connection,
      `SELECT 1::NUMBER(38, 0) AS N, 1.25::NUMBER(10, 2) AS D, 0.5::FLOAT AS F, 'text' AS T, TRUE AS B,
        '2024-02-29'::DATE AS DAY, '2024-02-29 12:34:56.789'::TIMESTAMP_NTZ AS MOMENT, '12:34:56'::TIME AS CLOCK,
        TO_BINARY('00FF', 'HEX') AS RAW, PARSE_JSON('{"a": [1, null]}') AS SEMI, NULL::VARCHAR AS NOTHING`
    ),

  // A result without rows.
  empty: (connection) => ask(connection, 'SELECT * FROM CUSTOMERS WHERE ID < 0'),

  // Values that the server binds: by their places, and by their names.
  async binding(connection) {
    return {
      places: await ask(connection, 'SELECT NAME, CITY FROM CUSTOMERS WHERE ID = ? OR CITY = ? ORDER BY ID LIMIT 3', { binds: [7, 'Oslo'] }),
      names: await ask(connection, 'SELECT NAME, CITY FROM CUSTOMERS WHERE ID = :1', { binds: [7] }),
    };
  },

  // Statements that the server refuses.
  error: (connection) => attempts(connection, ['SELECT * FROM NO_SUCH_TABLE', 'SELECT ID FROM CUSTOMERS GROUP BY CITY']),

  // Writing, many rows in one statement too, and what became of it.
  async dml(connection) {
    const rows = [
      [5002, 'Ole'],
      [5003, 'Per'],
    ];
    const many = 'INSERT INTO CUSTOMERS (ID, NAME) VALUES (?, ?)';
    const first = await attempts(connection, ["INSERT INTO CUSTOMERS (ID, NAME) VALUES (5001, 'Nia Nobody')"]);
    const statements = [
      "UPDATE CUSTOMERS SET CITY = 'Bergen' WHERE ID > 5000",
      'SELECT ID, NAME, CITY FROM CUSTOMERS WHERE ID > 5000 ORDER BY ID',
      'DELETE FROM CUSTOMERS WHERE ID > 5000',
    ];
    return { ...first, [many]: await attempt(connection, many, { binds: rows }), ...(await attempts(connection, statements)) };
  },

  // The statement that nobody wants to see from a leaked token.
  drop: (connection) => attempt(connection, 'DROP TABLE CUSTOMERS'),
};

function print(scenario, seen) {
  process.stdout.write(`${JSON.stringify({ scenario, ...seen })}\n`);
}

async function main() {
  const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(scenarios);
  const unknown = chosen.filter((name) => !(name in scenarios));
  if (unknown.length) throw new Error(`no such scenario: ${unknown}; there are ${Object.keys(scenarios)}`);
  let connection;
  try {
    connection = await connect();
  } catch (error) {
    print('login', { error: failure(error) });
    return;
  }
  for (const name of chosen) {
    try {
      print(name, await scenarios[name](connection));
    } catch (error) {
      print(name, { error: failure(error) });
    }
  }
  await new Promise((resolve, reject) => connection.destroy((error) => (error ? reject(error) : resolve())));
}

main();
