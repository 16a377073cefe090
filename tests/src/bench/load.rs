//! The client of the measurements: a driver without a driver's own work. It logs in, sends the same statement again and
//! again, and times each exchange. No TLS session is resumed: a new connection is a whole handshake.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use uuid::Uuid;

/// The name that is asked for, whatever the address.
const HOST: &str = "acme.snowflakecomputing.com";
/// A statement of about a kilobyte, as dbt writes them.
const COLUMNS: usize = 24;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// A new connection and its first statement, one after the other.
    Connections,
    /// Statements on connections that stay open.
    Requests,
    /// Statements with a large result.
    Bulk,
    /// `connect(2)` and nothing else, one after the other.
    Connects,
}

/// One measurement.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// What to do
    #[arg(value_enum)]
    pub work: Work,
    /// Where to connect to
    #[arg(long, value_name = "IP:PORT")]
    pub target: SocketAddr,
    /// Root certificates to trust, PEM
    #[arg(long, value_name = "FILE")]
    pub roots: PathBuf,
    /// How often, by all clients together
    #[arg(long)]
    pub count: usize,
    /// How many clients at one time
    #[arg(long, default_value_t = 1)]
    pub clients: usize,
}

/// Runs one measurement, and says what was measured: how many, how long in all, how many bytes of results, and of the
/// single times the 10th, 50th and 99th percentile in microseconds.
///
/// # Errors
/// Whatever is not answered as it should be ends the measurement.
pub async fn measure(load: &Load) -> Result<Value> {
    let client = Client::new(load)?;
    let begun = Instant::now();
    let (times, bytes) = match load.work {
        Work::Connects => client.connects(load.count).await?,
        Work::Connections => client.connections(load.count).await?,
        Work::Requests => client.requests(load.count, load.clients, &statement("LINES")).await?,
        Work::Bulk => client.requests(load.count, load.clients, &statement("BULK")).await?,
    };
    Ok(figures(begun.elapsed(), times, bytes))
}

fn figures(all: Duration, mut times: Vec<Duration>, bytes: usize) -> Value {
    times.sort_unstable();
    let percentile = |n: usize| {
        let at = times.len().saturating_sub(1) * n / 100;
        times.get(at).map(|time| time.as_secs_f64() * 1e6)
    };
    json!({
        "count": times.len(), "seconds": all.as_secs_f64(), "bytes": bytes,
        "p10": percentile(10), "p50": percentile(50), "p99": percentile(99),
    })
}

fn statement(table: &str) -> Bytes {
    let columns: Vec<String> =
        (0..COLUMNS).map(|n| format!("column_number_{n} AS renamed_column_{n}")).collect();
    let sql = format!("SELECT {} FROM {table} WHERE n BETWEEN 1 AND 64", columns.join(", "));
    json!({ "sqlText": sql, "asyncExec": false, "sequenceId": 1, "parameters": {} }).to_string().into()
}

#[derive(Clone)]
struct Client {
    target: SocketAddr,
    connector: TlsConnector,
}

impl Client {
    fn new(load: &Load) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(&load.roots)
            .with_context(|| format!("cannot read {}", load.roots.display()))?;
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { target: load.target, connector: TlsConnector::from(Arc::new(config)) })
    }

    async fn connects(&self, count: usize) -> Result<(Vec<Duration>, usize)> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begun = Instant::now();
            let stream = TcpStream::connect(self.target).await?;
            times.push(begun.elapsed());
            // A reset leaves no port behind that waits.
            stream.set_zero_linger()?;
        }
        Ok((times, 0))
    }

    async fn connections(&self, count: usize) -> Result<(Vec<Duration>, usize)> {
        let token = self.log_in().await?;
        let statement = statement("LINES");
        let (mut times, mut bytes) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let begun = Instant::now();
            let mut sender = self.connect().await?;
            bytes += ask(&mut sender, &token, &statement).await?;
            times.push(begun.elapsed());
        }
        Ok((times, bytes))
    }

    async fn requests(
        &self,
        count: usize,
        clients: usize,
        statement: &Bytes,
    ) -> Result<(Vec<Duration>, usize)> {
        let mut working = JoinSet::new();
        for _ in 0..clients {
            let (client, statement, count) = (self.clone(), statement.clone(), count / clients);
            working.spawn(async move {
                let token = client.log_in().await?;
                let mut sender = client.connect().await?;
                let (mut times, mut bytes) = (Vec::with_capacity(count), 0);
                for _ in 0..count {
                    let begun = Instant::now();
                    bytes += ask(&mut sender, &token, &statement).await?;
                    times.push(begun.elapsed());
                }
                Ok::<_, anyhow::Error>((times, bytes))
            });
        }
        let (mut times, mut bytes) = (Vec::with_capacity(count), 0);
        while let Some(done) = working.join_next().await {
            let (of_one, bytes_of_one) = done.context("a client failed")??;
            times.extend(of_one);
            bytes += bytes_of_one;
        }
        Ok((times, bytes))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from(HOST)?, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A session's token.
    async fn log_in(&self) -> Result<String> {
        let mut sender = self.connect().await?;
        let body = json!({ "data": {
            "CLIENT_APP_ID": "Go", "CLIENT_APP_VERSION": "1.19.0", "ACCOUNT_NAME": "acme", "LOGIN_NAME": "ETL_SVC",
            "PASSWORD": "canned",
        }});
        let path = format!("/session/v1/login-request?requestId={}", Uuid::new_v4());
        let body = post(&mut sender, &path, None, body.to_string().into()).await?;
        let reply: Value = serde_json::from_slice(&body)?;
        let token = reply.pointer("/data/token").and_then(Value::as_str);
        token.map(str::to_owned).with_context(|| format!("no login: {}", String::from_utf8_lossy(&body)))
    }
}

/// Sends a statement, and gives the size of its result.
async fn ask(sender: &mut SendRequest<Full<Bytes>>, token: &str, statement: &Bytes) -> Result<usize> {
    let path = format!("/queries/v1/query-request?requestId={}", Uuid::new_v4());
    let body = post(sender, &path, Some(token), statement.clone()).await?;
    // Rows, and not a refusal.
    ensure!(body.len() > 1_000, "no rows: {}", String::from_utf8_lossy(&body));
    Ok(body.len())
}

async fn post(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    token: Option<&str>,
    body: Bytes,
) -> Result<Bytes> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, HOST)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Snowflake Token=\"{token}\""));
    }
    let reply = sender.send_request(request.body(Full::new(body))?).await?;
    let status = reply.status();
    let body = reply.into_body().collect().await?.to_bytes();
    ensure!(status == StatusCode::OK, "{path}: {status} {}", String::from_utf8_lossy(&body));
    Ok(body)
}
