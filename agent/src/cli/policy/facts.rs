//! `snowfence policy facts`: statements in, facts out, one JSON value a line each way. What `docs/facts.md` tells.

mod ask;
mod tell;

use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::Context;
use serde_json::{Value, json};

use self::{ask::Ask, tell::Told};
use crate::cli::{Failure, Outcome};

/// The longest line that is read: a statement of the greatest length in JSON's longest spelling, and as much schema again.
const LINE_BYTES_MAX: u64 = 12 << 20;

/// Answers each line of standard input as it comes.
pub(crate) fn run() -> Outcome {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = io::stdout().lock();
    let mut all_good = true;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.context("standard input cannot be read")? == 0 {
            break;
        }
        let is_cut = line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n');
        if is_cut {
            skip_line(&mut input).context("standard input cannot be read")?;
        }
        let answer = if is_cut {
            Err(bad(number.into(), "the line is longer than LINE_BYTES_MAX"))
        } else {
            answer(number, &line)
        };
        let text = match answer {
            Ok(None) => continue,
            Ok(Some(told)) => serde_json::to_string(&told).context("an answer cannot be written as JSON")?,
            Err(error) => {
                all_good = false;
                error.to_string()
            }
        };
        match output.write_all(format!("{text}\n").as_bytes()).and_then(|()| output.flush()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("the answer cannot be printed")?,
        }
    }
    if all_good { Ok(()) } else { Err(Failure::Reported) }
}

/// Reads on to the end of a line.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let seen = input.fill_buf()?;
        let end = seen.iter().position(|byte| *byte == b'\n');
        let (taken, is_end) = end.map_or((seen.len(), seen.is_empty()), |at| (at + 1, true));
        input.consume(taken);
        if is_end {
            return Ok(());
        }
    }
}

/// What is told of one line; nothing of an empty one.
fn answer(number: u64, line: &[u8]) -> Result<Option<Told>, Value> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let ask: Value =
        serde_json::from_slice(line).map_err(|error| bad(number.into(), &format!("not JSON: {error}")))?;
    let id = ask.get("id").cloned().unwrap_or_else(|| number.into());
    let ask = Ask::read(&ask).map_err(|error| bad(id.clone(), &error))?;
    Ok(Some(Told::of(id, &sql::analyze(&ask.text, &ask.names, &ask.catalog), &ask.catalog)))
}

fn bad(id: Value, why: &str) -> Value {
    json!({ "id": id, "error": why })
}

#[cfg(test)]
mod tests;
