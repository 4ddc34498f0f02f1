//! Compresses the eBPF objects that conn-cli embeds, as LZ4 blocks: `trace/kernel/packed.rs` unpacks them at each
//! start, which takes 1.3 million instructions, and with deflate 3.2.

use std::collections::HashMap;

/// The length of the shortest match.
const SHORTEST: usize = 4;

/// The bytes at the end that are in no match, and those in which none begins.
const LAST_LITERALS: usize = 5;
const LAST_BYTES: usize = 12;

/// How many of the latest places with the same four bytes are tried. More of them make the result little smaller.
const CANDIDATES: usize = 64;

/// The bytes as one LZ4 block.
pub(crate) fn pack(input: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let (mut at, mut literals) = (0, 0);
    while at + LAST_BYTES < input.len() {
        let longest = longest_match(input, at, &places);
        // A longer one that begins with the next byte is better.
        let next = longest_match(input, at + 1, &places);
        let step = match longest {
            Some((from, length)) if next.is_none_or(|(_, next)| next <= length) => {
                let offset = (at - from) as u16;
                sequence(&mut packed, &input[literals..at], length - SHORTEST);
                packed.extend_from_slice(&offset.to_le_bytes());
                if let Some(rest) = (length - SHORTEST).checked_sub(15) {
                    extend_length(&mut packed, rest);
                }
                literals = at + length;
                length
            }
            _ => 1,
        };
        for place in at..at + step {
            let bytes = input.get(place..place + SHORTEST);
            bytes.map(|bytes| places.entry(bytes).or_default().push(place));
        }
        at += step;
    }
    sequence(&mut packed, &input[literals..], 0);
    packed
}

/// The place and length of the longest match for the bytes at `at`.
fn longest_match(
    input: &[u8],
    at: usize,
    places: &HashMap<&[u8], Vec<usize>>,
) -> Option<(usize, usize)> {
    let known = places.get(&input[at..at + SHORTEST])?;
    let rest = &input[at..input.len() - LAST_LITERALS];
    let near = known.iter().rev().take(CANDIDATES);
    near.filter(|from| at - **from <= usize::from(u16::MAX))
        .map(|&from| {
            let equal = |(a, b): &(&u8, &u8)| a == b;
            let length = rest.iter().zip(&input[from..]).take_while(equal).count();
            (from, length)
        })
        .max_by_key(|(from, length)| (*length, *from))
        .filter(|(_, length)| *length >= SHORTEST)
}

/// The token of a sequence, with the length of its match beyond the shortest, and its literals.
fn sequence(packed: &mut Vec<u8>, literals: &[u8], length: usize) {
    packed.push((literals.len().min(15) << 4 | length.min(15)) as u8);
    if let Some(rest) = literals.len().checked_sub(15) {
        extend_length(packed, rest);
    }
    packed.extend_from_slice(literals);
}

/// The rest of a length that does not fit the token.
fn extend_length(packed: &mut Vec<u8>, mut rest: usize) {
    while rest >= 255 {
        packed.push(255);
        rest -= 255;
    }
    packed.push(rest as u8);
}
