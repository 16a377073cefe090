//! Bodies as they travel: with or without gzip, always bounded.

use std::{
    borrow::Cow,
    io::{Read, Write},
    mem,
};

use flate2::{
    Compression,
    bufread::GzDecoder,
    write::{self, GzEncoder},
};

/// Why a body could not be brought into plain form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A content coding no driver sends.
    #[error("the content coding {coding:?} is not known; gzip and identity are")]
    Coding {
        /// The header's value, shortened.
        coding: String,
    },
    /// A text encoding in which the body would read differently.
    #[error("the body is declared to be {content_type:?}, which is not JSON in UTF-8")]
    Charset {
        /// The header's value, shortened.
        content_type: String,
    },
    /// The gzip data are broken or cut off.
    #[error("the body is not valid gzip")]
    Gzip,
    /// Something follows the gzip data. Some readers would go on with it, some would not.
    #[error("the gzip body has bytes after its end")]
    Trailing,
    /// Larger than may be held.
    #[error("the body is larger than {bytes_max} bytes when inflated")]
    TooLarge {
        /// How large it may be.
        bytes_max: usize,
    },
}

/// The plain form of a body. `content_encoding` is the header's value.
///
/// # Errors
/// When the coding is not known, the data are broken, or the result is larger than `bytes_max`.
pub fn plain<'a>(
    body: &'a [u8],
    content_encoding: Option<&str>,
    bytes_max: usize,
) -> Result<Cow<'a, [u8]>, CodecError> {
    if !is_compressed(content_encoding)? {
        let fits = body.len() <= bytes_max;
        return if fits { Ok(Cow::Borrowed(body)) } else { Err(CodecError::TooLarge { bytes_max }) };
    }
    let mut rest = body;
    let mut plain = Vec::new();
    // One byte more than allowed tells "exactly at the limit" from "beyond it".
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(&mut rest).take(limit).read_to_end(&mut plain).map_err(|_| CodecError::Gzip)?;
    if plain.len() > bytes_max {
        return Err(CodecError::TooLarge { bytes_max });
    }
    if !rest.is_empty() {
        return Err(CodecError::Trailing);
    }
    Ok(Cow::Owned(plain))
}

/// Whether a body is compressed. `content_encoding` is the header's value.
///
/// # Errors
/// When the coding is not known.
pub fn is_compressed(content_encoding: Option<&str>) -> Result<bool, CodecError> {
    let coding = content_encoding.map(str::trim).unwrap_or_default();
    if coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
        return Ok(false);
    }
    if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
        return Ok(true);
    }
    Err(CodecError::Coding { coding: crate::error::shown(coding) })
}

/// Brings a gzip body into plain form as it comes. What is refused is what [`plain`] refuses; how much comes out is for
/// the caller to bound.
#[derive(Debug)]
pub struct Inflater(write::GzDecoder<Vec<u8>>);

impl Inflater {
    /// At the beginning of a body.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a decoder has a beginning and no default state")]
    pub fn new() -> Self {
        Self(write::GzDecoder::new(Vec::new()))
    }

    /// Takes the next bytes, and gives what they come to: up to a thousand times as many.
    ///
    /// # Errors
    /// When the data are broken, or go on after their end.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        while !bytes.is_empty() {
            let taken = self.0.write(bytes).map_err(|_| CodecError::Gzip)?;
            if taken == 0 {
                return Err(CodecError::Trailing);
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(mem::take(self.0.get_mut()))
    }

    /// Gives what is left at the end of a body.
    ///
    /// # Errors
    /// When the data are cut off.
    pub fn end(self) -> Result<Vec<u8>, CodecError> {
        self.0.finish().map_err(|_| CodecError::Gzip)
    }
}

/// The gzip form of a body, quickly rather than small: it goes over loopback.
#[must_use]
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail; were it ever to, what is cut off is no valid gzip.
    drop(encoder.write_all(plain));
    encoder.finish().unwrap_or_default()
}

/// Checks that a request's `Content-Type` does not make Snowflake read the bytes otherwise than as UTF-8. A missing
/// header is fine: JSON is UTF-8 then.
///
/// # Errors
/// When the header names another type than JSON, or another character set than UTF-8.
pub fn json_in_utf8(content_type: Option<&str>) -> Result<(), CodecError> {
    let Some(value) = content_type else { return Ok(()) };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |part: &str| {
        part.split_once('=').is_some_and(|(name, charset)| {
            name.trim().eq_ignore_ascii_case("charset")
                && charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    };
    if is_json && parts.all(|part| part.is_empty() || is_utf8(part)) {
        return Ok(());
    }
    Err(CodecError::Charset { content_type: crate::error::shown(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_gzip_bodies_come_out_plain() {
        let packed = gzip(b"{\"a\":1}");
        for (body, coding) in [
            (&b"{\"a\":1}"[..], None),
            (b"{\"a\":1}", Some("")),
            (b"{\"a\":1}", Some("identity")),
            (&packed, Some("gzip")),
            (&packed, Some(" GZip ")),
        ] {
            assert_eq!(plain(body, coding, 100).unwrap().as_ref(), b"{\"a\":1}", "{coding:?}");
        }
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        let packed = gzip(b"{}");
        let mut two = packed.clone();
        two.extend_from_slice(&packed);
        let mut damaged = packed.clone();
        *damaged.iter_mut().rev().nth(5).unwrap() ^= 1;
        for (body, coding, error) in [
            (&two[..], "gzip", CodecError::Trailing),
            (&[&packed[..], b"x"].concat(), "gzip", CodecError::Trailing),
            (&packed[..packed.len() - 1], "gzip", CodecError::Gzip),
            (&damaged, "gzip", CodecError::Gzip),
            (b"{}", "gzip", CodecError::Gzip),
            (b"", "gzip", CodecError::Gzip),
            (b"{}", "br", CodecError::Coding { coding: "br".into() }),
            (b"{}", "deflate", CodecError::Coding { coding: "deflate".into() }),
            (&packed, "gzip, gzip", CodecError::Coding { coding: "gzip, gzip".into() }),
        ] {
            assert_eq!(plain(body, Some(coding), 100), Err(error), "{coding}");
        }
    }

    #[test]
    fn a_body_that_comes_in_pieces_is_read_as_one_that_is_there() {
        let text = "rows of a result, ".repeat(9_000);
        let packed = gzip(text.as_bytes());
        let mut damaged = packed.clone();
        *damaged.iter_mut().rev().nth(5).unwrap() ^= 1;
        let longer = [&packed[..], b"x"].concat();
        let two = [&packed[..], &packed[..]].concat();
        for body in [&packed[..], &packed[..packed.len() - 1], &packed[..5], &damaged, &longer, &two, b"{}"] {
            for length in [1, 2, 7, 100, body.len()] {
                let mut inflater = Inflater::new();
                let mut inflated = Vec::new();
                let taken = body.chunks(length).try_for_each(|piece| {
                    inflated.extend(inflater.take(piece)?);
                    Ok(())
                });
                let ended = taken.and_then(|()| {
                    inflated.extend(inflater.end()?);
                    Ok(inflated)
                });
                let whole = plain(body, Some("gzip"), usize::MAX / 2).map(Cow::into_owned);
                assert_eq!(ended, whole, "{} bytes in pieces of {length}", body.len());
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 10_000);
        let bytes_max = (1 << 20) - 1;
        assert_eq!(plain(&bomb, Some("gzip"), bytes_max), Err(CodecError::TooLarge { bytes_max }));
        assert_eq!(plain(&bomb, Some("gzip"), 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(plain(b"abc", None, 2), Err(CodecError::TooLarge { bytes_max: 2 }));
    }

    #[test]
    fn only_json_in_utf8_is_taken() {
        for good in [
            None,
            Some("application/json"),
            Some("application/json; charset=utf-8"),
            Some("Application/JSON;Charset=\"UTF-8\""),
        ] {
            assert_eq!(json_in_utf8(good), Ok(()), "{good:?}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; boundary=x",
            "application/x-www-form-urlencoded",
        ] {
            assert!(json_in_utf8(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
