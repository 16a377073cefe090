//! A keyed permutation of the numbers with a given count of decimal digits: each becomes another one of as many digits,
//! and no two become the same.
//!
//! It is an alternating Feistel network over the two halves of the digits, as FF1 of NIST SP 800-38G is, with HMAC-SHA-256
//! in the place of AES. That it is a permutation follows from the network alone; that it says nothing follows from HMAC and
//! the number of rounds. It is not FF1, and no other program makes the same tokens.

use crate::key::Key;

/// Fewer digits make so few numbers that whoever sees enough tokens knows them all (SP 800-38G asks for a million).
pub(crate) const DIGITS_MIN: usize = 6;
/// Half of them, in decimal, must fit 64 bits.
pub(crate) const DIGITS_MAX: usize = 36;
/// As many as FF1 has.
const ROUNDS: u8 = 10;

/// Permutes digits, each 0 to 9, in place. `within` names the permutation: other words give another one. `None` if there are
/// too few or too many digits, or the key is not known.
pub(crate) fn permute(key: &Key, within: &[&[u8]], digits: &mut [u8]) -> Option<()> {
    let count = digits.len();
    if !(DIGITS_MIN..=DIGITS_MAX).contains(&count) {
        return None;
    }
    let (left_digits, right_digits) = digits.split_at_mut(count / 2);
    let moduli = [modulus(left_digits.len())?, modulus(right_digits.len())?];
    let (mut left, mut right) = (number(left_digits), number(right_digits));
    for (round, modulus) in (0..ROUNDS).zip(moduli.iter().cycle()) {
        let (length, right_bytes) = ([u8::try_from(count).ok()?, round], right.to_be_bytes());
        let mut parts = within.to_vec();
        parts.extend([length.as_slice(), right_bytes.as_slice()]);
        let hash = key.hash(&parts)?;
        let noise = u128::from_be_bytes(hash.first_chunk().copied()?) % u128::from(*modulus);
        let mixed = (u128::from(left) + noise) % u128::from(*modulus);
        (left, right) = (right, u64::try_from(mixed).ok()?);
    }
    write(left, left_digits);
    write(right, right_digits);
    Some(())
}

fn modulus(digits: usize) -> Option<u64> {
    10_u64.checked_pow(u32::try_from(digits).ok()?)
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(*digit))
}

fn write(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key() -> Key {
        Key::new("k", &[9; 32]).unwrap()
    }

    #[test]
    fn every_number_of_six_digits_becomes_another_one() {
        let key = key();
        let mut seen = HashSet::new();
        let mut stays = 0;
        for number in 0..1_000_000_u64 {
            let mut digits = [0; 6];
            write(number, &mut digits);
            permute(&key, &[b"t"], &mut digits).unwrap();
            assert!(digits.iter().all(|digit| *digit < 10));
            seen.insert(digits);
            stays += usize::from(super::number(&digits) == number);
            // All of them take too long without optimisation; a permutation's prefix has no doubles either.
            if cfg!(debug_assertions) && number == 30_000 {
                break;
            }
        }
        assert!(seen.len() == if cfg!(debug_assertions) { 30_001 } else { 1_000_000 });
        assert!(stays < 20, "{stays} numbers stay as they are");
    }

    #[test]
    fn key_length_and_word_make_other_permutations() {
        let of = |key: &Key, word: &[u8], digits: &[u8]| {
            let mut digits = digits.to_vec();
            permute(key, &[word], &mut digits).map(|()| digits)
        };
        let digits = [1, 2, 3, 4, 5, 6, 7];
        let token = of(&key(), b"a", &digits);
        assert_eq!(token, of(&key(), b"a", &digits));
        assert_ne!(token, of(&key(), b"b", &digits));
        assert_ne!(token, of(&Key::new("k", &[8; 32]).unwrap(), b"a", &digits));
        assert_eq!(of(&key(), b"a", &[1; DIGITS_MIN - 1]), None);
        assert_eq!(of(&key(), b"a", &[1; DIGITS_MAX + 1]), None);
        assert!(of(&key(), b"a", &[9; DIGITS_MAX]).is_some());
        assert_eq!(of(&Key::named("k"), b"a", &digits), None);
    }
}
