//! A guarded domain, laid out so that a kernel program compares it with a name in a few steps.

/// Words in the tail of a name: 64 bytes.
pub const NAME_WORDS: usize = 8;
/// Bytes in the tail of a name.
pub const NAME_BYTES: usize = NAME_WORDS * size_of::<u64>();
/// Most domains that can be watched for.
pub const DOMAINS_MAX: usize = 16;
/// Longest domain that can be watched for: a tail holds it and the dot before it.
pub const DOMAIN_BYTES_MAX: usize = NAME_BYTES - 1;

/// A domain at the end of a tail, with a dot before it. All zero is no domain.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    /// The text, each byte with [`FOLD`](Self::FOLD) set.
    pub text: [u64; NAME_WORDS],
    /// All ones where the domain itself is.
    pub itself: [u64; NAME_WORDS],
    /// All ones where the domain and the dot before it are.
    pub below: [u64; NAME_WORDS],
    /// How long the domain is, without the dot.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Domain>() == 200 && align_of::<Domain>() == 8);
const _: () = assert!(core::mem::offset_of!(Domain, itself) == 64);
const _: () = assert!(core::mem::offset_of!(Domain, below) == 128);
const _: () = assert!(core::mem::offset_of!(Domain, bytes) == 192);

// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Domain {}

impl Domain {
    /// The bit in which capitals and small letters differ. Digits, dots and hyphens have it already, so that setting it
    /// in both of two host names makes them equal if and only if they differ in case alone. (An underscore becomes a
    /// byte that no host name has, in both.)
    pub const FOLD: u64 = u64::from_ne_bytes([0x20; 8]);

    /// No domain.
    pub const NONE: Self = Self { text: [0; 8], itself: [0; 8], below: [0; 8], bytes: 0 };

    /// From a host name; `None` if it is empty or longer than [`DOMAIN_BYTES_MAX`].
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if !(1..=DOMAIN_BYTES_MAX).contains(&name.len()) {
            return None;
        }
        let begin = NAME_BYTES - name.len();
        let (mut text, mut itself, mut below) = ([0; NAME_BYTES], [0; NAME_BYTES], [0; NAME_BYTES]);
        let places = text.iter_mut().zip(&mut itself).zip(&mut below).skip(begin - 1);
        let with_dot = core::iter::once(b'.').chain(name.bytes());
        for (place, (((text, itself), below), byte)) in places.zip(with_dot).enumerate() {
            *text = byte | 0x20;
            *itself = if place == 0 { 0 } else { 0xff };
            *below = 0xff;
        }
        let words = [text, itself, below].map(words);
        let [text, itself, below] = words;
        Some(Self { text, itself, below, bytes: name.len() as u64 })
    }
}

fn words(bytes: [u8; NAME_BYTES]) -> [u64; NAME_WORDS] {
    let mut words = [0; NAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel program compares.
    fn is_match(domain: &Domain, name: &str) -> bool {
        let mut tail = [0xaa; NAME_BYTES];
        tail.iter_mut().rev().zip(name.bytes().rev()).for_each(|(to, from)| *to = from);
        let (mut itself, mut below) = (0, 0);
        for (place, word) in words(tail).into_iter().enumerate() {
            let difference = (word | Domain::FOLD) ^ domain.text[place];
            itself |= difference & domain.itself[place];
            below |= difference & domain.below[place];
        }
        let bytes = name.len() as u64;
        (bytes == domain.bytes && itself == 0) || (bytes > domain.bytes && below == 0)
    }

    #[test]
    fn a_name_is_in_a_domain_at_a_label_border_in_any_case() {
        let domain = Domain::new("snowflakecomputing.com").unwrap();
        let long = std::format!("{}.snowflakecomputing.com", "a".repeat(63));
        for name in
            ["snowflakecomputing.com", "acme.snowflakecomputing.com", "ACME.SnowflakeComputing.COM", &long]
        {
            assert!(is_match(&domain, name), "{name}");
        }
        for name in [
            "",
            "com",
            "nowflakecomputing.com",
            "evilsnowflakecomputing.com",
            "acme.snowflakecomputing.org",
            "acme.snowflakecomputing.com.example.org",
            "snowflakecomputing-com",
            "acme.sn0wflakecomputing.com",
        ] {
            assert!(!is_match(&domain, name), "{name}");
        }
    }

    #[test]
    fn the_longest_domain_fits_and_a_longer_one_is_none() {
        let name = "a".repeat(DOMAIN_BYTES_MAX);
        let domain = Domain::new(&name).unwrap();
        assert!(is_match(&domain, &name) && is_match(&domain, &std::format!("x.{name}")));
        assert!(!is_match(&domain, &std::format!("x{name}")));
        assert_eq!((Domain::new(&"a".repeat(DOMAIN_BYTES_MAX + 1)), Domain::new("")), (None, None));
    }
}
