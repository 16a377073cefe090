//! The kernel's own types, as far as this needs them: at which byte of a structure a field lies. The format is BTF,
//! Documentation/bpf/btf.rst in the kernel's sources. aya reads it as well and does not tell offsets.

use std::{fs::File, io::Read as _};

/// The running kernel's types.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
/// More bytes than any kernel has; some have 6 MB.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Longest way through structures inside of structures.
const DEPTH_MAX: u32 = 16;

/// First bytes of the format, in the machine's byte order.
const MAGIC: u16 = 0xeb9f;
/// Bytes of a type and of a member of a structure.
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
/// Kinds of types.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;

/// Types by their number.
pub(crate) struct KernelTypes {
    bytes: Vec<u8>,
    /// Where each type begins; the first is void, and nowhere.
    types: Vec<usize>,
    /// Where the names begin.
    names: usize,
}

/// A type's head.
#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: u32,
    count: usize,
    /// Whether members have their size beside their place.
    has_sizes: bool,
    /// What it refers to, or its size.
    refers: u32,
}

impl KernelTypes {
    /// Those of the running kernel; the error says what to do.
    pub(crate) fn of_the_kernel() -> Result<Self, String> {
        let mut bytes = Vec::new();
        let read = File::open(KERNEL).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes));
        read.map_err(|error| format!("{KERNEL}: {error}: boot a kernel built with CONFIG_DEBUG_INFO_BTF"))?;
        Self::parse(bytes).ok_or_else(|| format!("{KERNEL} is written in a way that is not known here"))
    }

    /// None for what is not in this format, or has a kind of type that is not known: what comes behind it cannot be
    /// found.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let u32_at = |at: usize| usize::try_from(word(&bytes, at)?).ok();
        if bytes.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let header = u32_at(4)?;
        let (begin, length, names) = (u32_at(8)?, u32_at(12)?, u32_at(16)?);
        let mut at = header.checked_add(begin)?;
        let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
        let names = header.checked_add(names)?;
        let mut types = vec![0];
        while at < end {
            types.push(at);
            at = at.checked_add(TYPE_BYTES + extra(head(&bytes, at)?)?)?;
        }
        Some(Self { bytes, types, names })
    }

    /// At which byte of the structure `of` the last field of `way` lies, each a field of the one before. A structure
    /// without a name is looked through.
    pub(crate) fn offset(&self, of: &str, way: &[&str]) -> Option<u32> {
        let mut found = self.types.iter().skip(1).filter_map(|at| {
            let head = head(&self.bytes, *at)?;
            (head.kind == STRUCT && self.name(head.name)? == of.as_bytes()).then_some(*at)
        });
        let bits = found.find_map(|at| self.walk(at, way))?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    fn walk(&self, at: usize, way: &[&str]) -> Option<u32> {
        let (first, rest) = way.split_first()?;
        let (bits, refers) = self.member(at, first, DEPTH_MAX)?;
        if rest.is_empty() {
            return Some(bits);
        }
        bits.checked_add(self.walk(self.structure(refers, DEPTH_MAX)?, rest)?)
    }

    /// Where a member lies, in bits, and its type.
    fn member(&self, at: usize, name: &str, depth: u32) -> Option<(u32, u32)> {
        let depth = depth.checked_sub(1)?;
        let head = head(&self.bytes, at)?;
        (0..head.count).find_map(|index| {
            let at = at + TYPE_BYTES + index * MEMBER_BYTES;
            let (label, refers, place) =
                (word(&self.bytes, at)?, word(&self.bytes, at + 4)?, word(&self.bytes, at + 8)?);
            let bits = if head.has_sizes { place & 0x00ff_ffff } else { place };
            let label = self.name(label)?;
            if label == name.as_bytes() {
                return Some((bits, refers));
            }
            if !label.is_empty() {
                return None;
            }
            let (inner, refers) = self.member(self.structure(refers, DEPTH_MAX)?, name, depth)?;
            Some((bits.checked_add(inner)?, refers))
        })
    }

    /// Where the structure or union begins that a type is, under whatever names.
    fn structure(&self, number: u32, depth: u32) -> Option<usize> {
        let at = *self.types.get(usize::try_from(number).ok()?)?;
        let head = head(&self.bytes, at)?;
        match head.kind {
            STRUCT | UNION => Some(at),
            TYPEDEF | VOLATILE | CONST => self.structure(head.refers, depth.checked_sub(1)?),
            _ => None,
        }
    }

    fn name(&self, at: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(self.names.checked_add(usize::try_from(at).ok()?)?..)?;
        rest.split(|byte| *byte == 0).next()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

fn head(bytes: &[u8], at: usize) -> Option<Head> {
    let info = word(bytes, at + 4)?;
    Some(Head {
        name: word(bytes, at)?,
        kind: info >> 24 & 0x1f,
        count: usize::try_from(info & 0xffff).ok()?,
        has_sizes: info >> 31 == 1,
        refers: word(bytes, at + 8)?,
    })
}

/// How many bytes follow a type's head.
fn extra(head: Head) -> Option<usize> {
    Some(match head.kind {
        // Pointers, forward declarations, other names, qualifiers, functions, floats, tags of types.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        STRUCT | UNION => MEMBER_BYTES * head.count,
        // Enumerations and the parameters of functions.
        6 | 13 => 8 * head.count,
        // Sections, and enumerations of 64 bits.
        15 | 19 => 12 * head.count,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; typedef struct inner inner_t; inner_t c; }; }`, `struct inner { int d:3, e; }`
    fn sample() -> Vec<u8> {
        let names = b"\0outer\0a\0b\0c\0inner\0inner_t\0d\0e\0";
        let name = |text: &str| {
            let text = [b"\0", text.as_bytes(), b"\0"].concat();
            let at = names.windows(text.len()).position(|window| window == text).unwrap();
            u32::try_from(at + 1).unwrap()
        };
        let types: Vec<u32> = [
            // 1: int
            vec![0, 1 << 24, 4, 32],
            // 2: struct outer
            vec![name("outer"), STRUCT << 24 | 2, 16, name("a"), 1, 0, 0, 3, 32],
            // 3: the one without a name
            vec![0, STRUCT << 24 | 2, 12, name("b"), 1, 0, name("c"), 4, 32],
            // 4: inner_t
            vec![name("inner_t"), TYPEDEF << 24, 5],
            // 5: struct inner, whose members have sizes
            vec![name("inner"), 1 << 31 | STRUCT << 24 | 2, 8, name("d"), 1, 3 << 24 | 3, name("e"), 1, 32],
        ]
        .concat();
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let length = u32::try_from(types.len()).unwrap();
        let mut bytes = [&MAGIC.to_ne_bytes()[..], &[1, 0]].concat();
        for number in [24, 0, length, length, u32::try_from(names.len()).unwrap()] {
            bytes.extend(number.to_ne_bytes());
        }
        [bytes, types, names.to_vec()].concat()
    }

    #[test]
    fn a_field_is_found_wherever_it_lies() {
        let types = KernelTypes::parse(sample()).unwrap();
        assert_eq!(types.offset("outer", &["a"]), Some(0));
        assert_eq!(types.offset("outer", &["b"]), Some(4), "in a structure without a name");
        assert_eq!(types.offset("outer", &["c"]), Some(8));
        assert_eq!(types.offset("outer", &["c", "e"]), Some(12), "through another name");
        assert_eq!(types.offset("inner", &["e"]), Some(4));
    }

    #[test]
    fn what_is_not_there_or_not_at_a_byte_is_nowhere() {
        let types = KernelTypes::parse(sample()).unwrap();
        for (of, way) in [
            ("outer", &["z"][..]),
            ("outer", &["a", "z"]),
            ("outer", &[]),
            ("nothing", &["a"]),
            ("", &["b", "x"]),
            ("inner", &["d"]),
        ] {
            assert_eq!(types.offset(of, way), None, "{of} {way:?}");
        }
    }

    #[test]
    fn whatever_the_bytes_are_it_ends() {
        let whole = sample();
        for length in 0..whole.len() {
            if let Some(types) = KernelTypes::parse(whole[..length].to_vec()) {
                types.offset("outer", &["c", "e"]);
            }
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Some(types) = KernelTypes::parse(bytes) {
                    types.offset("outer", &["c", "e"]);
                    types.offset("inner", &["z"]);
                }
            }
        }
    }

    #[test]
    fn this_machines_kernel_has_what_every_kernel_has() {
        let types = KernelTypes::of_the_kernel().unwrap();
        assert!(types.offset("task_struct", &["tgid"]).is_some_and(|offset| offset > 0));
        assert!(types.offset("sock", &["__sk_common", "skc_net", "net"]).is_some());
    }
}
