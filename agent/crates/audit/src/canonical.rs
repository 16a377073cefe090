//! Canonical JSON (RFC 8785): one way to write a value, so that its hash says whether it is the same.
//!
//! The schema keeps to what makes this simple: ASCII member names, integers that a double holds exactly, no floats.
//! Members that are null are left out. A value is written as it is gone through: a tree of it would cost more than all
//! else that is done for an entry.

use serde::{
    Serialize,
    ser::{self, Error as _, Impossible},
};
use serde_json::Error;

/// Writes a value in its one form, without a newline.
pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(2048);
    value.serialize(Canonical(&mut out))?;
    Ok(out)
}

/// Writes one value behind what is there.
struct Canonical<'a>(&'a mut Vec<u8>);

/// The items of an array, each behind a comma.
struct Items<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
}

/// The members of an object, each behind a comma, in the order in which they come.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    places: Vec<Place>,
    /// What else is closed with it.
    closing: &'static [u8],
}

/// Where a member is: its comma, the end of its name, and its end.
#[derive(Clone, Copy)]
struct Place {
    begin: usize,
    name_end: usize,
    end: usize,
}

impl<'a> Members<'a> {
    fn begin(out: &'a mut Vec<u8>, closing: &'static [u8]) -> Self {
        let begin = out.len();
        Self { out, begin, places: Vec::new(), closing }
    }

    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let begin = self.out.len();
        self.out.push(b',');
        serde_json::to_writer(&mut *self.out, name)?;
        let name_end = self.out.len();
        self.out.push(b':');
        value.serialize(Canonical(self.out))?;
        if self.out.get(name_end..) == Some(b":null") {
            self.out.truncate(begin);
        } else {
            self.places.push(Place { begin, name_end, end: self.out.len() });
        }
        Ok(())
    }

    fn finish(self) {
        let Self { out, begin, mut places, closing } = self;
        let name = |place: &Place| out.get(place.begin..place.name_end);
        if !places.is_sorted_by_key(name) {
            places.sort_by(|one, other| name(one).cmp(&name(other)));
            let members = places.iter().filter_map(|place| out.get(place.begin..place.end));
            let sorted: Vec<u8> = members.flatten().copied().collect();
            out.truncate(begin);
            out.extend_from_slice(&sorted);
        }
        close(out, begin, b'{', b'}');
        out.extend_from_slice(closing);
    }
}

/// Opens what was written since `begin` in place of its first comma, and closes it.
fn close(out: &mut Vec<u8>, begin: usize, opening: u8, closing: u8) {
    match out.get_mut(begin) {
        Some(comma) => *comma = opening,
        None => out.push(opening),
    }
    out.push(closing);
}

macro_rules! as_json {
    ($($method:ident($kind:ty)),* $(,)?) => {$(
        fn $method(self, value: $kind) -> Result<(), Error> {
            serde_json::to_writer(self.0, &value)
        }
    )*};
}

macro_rules! absent {
    ($($method:ident($($kind:ty),*) -> $answer:ty),* $(,)?) => {$(
        fn $method(self, $(_: $kind),*) -> Result<$answer, Error> {
            Err(Error::custom(concat!("no entry has anything to ", stringify!($method))))
        }
    )*};
}

impl<'a> ser::Serializer for Canonical<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    as_json!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_char(char),
        serialize_str(&str),
    );

    absent!(
        serialize_f32(f32) -> (),
        serialize_f64(f64) -> (),
        serialize_bytes(&[u8]) -> (),
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant,
        serialize_map(Option<usize>) -> Self::SerializeMap,
    );

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut members = Members::begin(self.0, b"");
        members.member(variant, value)?;
        members.finish();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Error> {
        Ok(Items { begin: self.0.len(), out: self.0 })
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'a>, Error> {
        self.serialize_seq(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Error> {
        Ok(Members::begin(self.0, b""))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Error> {
        self.0.push(b'{');
        serde_json::to_writer(&mut *self.0, variant)?;
        self.0.push(b':');
        Ok(Members::begin(self.0, b"}"))
    }
}

impl ser::SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b',');
        value.serialize(Canonical(self.out))
    }

    fn end(self) -> Result<(), Error> {
        close(self.out, self.begin, b'[', b']');
        Ok(())
    }
}

impl ser::SerializeTuple for Items<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), Error> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeStructVariant for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
