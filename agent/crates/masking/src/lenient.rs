//! Reading a stream whose schema promises more than it keeps.
//!
//! A server was seen to mark the parts of a timestamp as never NULL and to send NULLs in them. Drivers do not look at
//! the mark, so such a result must be as good behind the agent as without it; the Arrow reader here does look, and
//! would refuse it. So batches are read under a schema in which everything may be NULL.

use std::{
    io::{Chain, Cursor, Read},
    sync::Arc,
};

use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

use crate::frames;

/// The batches of a stream, behind a schema of our own.
type Batches<'a> = StreamReader<Chain<Cursor<Vec<u8>>, &'a [u8]>>;

/// The schema of a stream as it is written there, and the batches of it.
///
/// Dictionaries are found by ids that are in the schema's bytes alone, and another schema would give them other ids. A stream
/// that has some is read as it is.
pub(crate) fn open(stream: &[u8]) -> Result<(SchemaRef, Batches<'_>), ArrowError> {
    frames::check(stream)?;
    let mut rest = stream;
    // Unbuffered, so that what is left of `rest` begins right after the schema.
    let schema = StreamReader::try_new(&mut rest, None)?.schema();
    let mut head = Vec::new();
    if schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Dictionary(..))) {
        rest = stream;
    } else {
        drop(StreamWriter::try_new(&mut head, &nullable_schema(&schema))?);
    }
    let batches = StreamReader::try_new(Cursor::new(head).chain(rest), None)?;
    Ok((schema, batches))
}

fn nullable_schema(schema: &Schema) -> Schema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(nullable).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn nullable(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nullable).collect()),
        DataType::List(item) => DataType::List(nullable(item)),
        DataType::LargeList(item) => DataType::LargeList(nullable(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(nullable(item), *size),
        // A map's entries and keys are never NULL by definition.
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type).with_nullable(true))
}
