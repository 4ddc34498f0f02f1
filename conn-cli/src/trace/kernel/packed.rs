//! Unpacks what `build/pack.rs` packs, an LZ4 block
//! (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>).

/// The length of the shortest match.
const SHORTEST: usize = 4;

/// How many bytes are copied at once. What that is too much, the next sequence overwrites.
const STEP: usize = 16;

/// Fills `out` with the content of a block. None if that has another length, or this is no block.
pub(super) fn unpack(mut packed: &[u8], out: &mut [u8]) -> Option<()> {
    let mut at = 0;
    loop {
        let (&token, rest) = packed.split_first()?;
        let (literals, rest) = length(token >> 4, rest)?;
        let after = at + literals;
        if literals <= STEP
            && let Some(to) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut)
            && let Some(from) = rest.first_chunk::<STEP>()
        {
            *to = *from;
        } else {
            out.get_mut(at..after)?
                .copy_from_slice(rest.get(..literals)?);
        }
        at = after;
        let rest = rest.get(literals..)?;
        if rest.is_empty() {
            return (at == out.len()).then_some(());
        }

        let (offset, rest) = rest.split_first_chunk()?;
        let distance = usize::from(u16::from_le_bytes(*offset));
        let (length, rest) = length(token & 15, rest)?;
        let (from, after) = (at.checked_sub(distance)?, at + length + SHORTEST);
        let out = out.get_mut(from..)?;
        let mut to = distance;
        while to < after - from {
            // A match may go on with what it has just written.
            if distance >= STEP && to + STEP <= out.len() {
                let bytes: [u8; STEP] = *out[to - distance..].first_chunk()?;
                *out[to..].first_chunk_mut()? = bytes;
                to += STEP;
            } else {
                *out.get_mut(to)? = out[to - distance];
                to += 1;
            }
        }
        (packed, at) = (rest, after);
    }
}

/// A length from a token's half and the bytes after it, and the bytes after that.
#[inline(always)]
fn length(half: u8, mut packed: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = usize::from(half);
    if half == 15 {
        loop {
            let (&more, rest) = packed.split_first()?;
            packed = rest;
            length += usize::from(more);
            if more != u8::MAX {
                break;
            }
        }
    }
    Some((length, packed))
}

#[cfg(test)]
mod tests {
    use super::super::object::Object;
    use super::*;

    #[test]
    fn objects_are_those_in_the_tree() {
        let tree = [
            (
                Object::Kprobe,
                &include_bytes!(concat!(env!("EBPF_OBJECTS"), "/kprobe.o"))[..],
            ),
            (
                Object::Btf,
                &include_bytes!(concat!(env!("EBPF_OBJECTS"), "/btf.o"))[..],
            ),
        ];
        for (object, bytes) in tree {
            let content = object.content();
            let content: &[u8] = bytemuck::cast_slice(&content);
            assert!(content.starts_with(bytes), "{object:?}");
        }
    }

    #[test]
    fn blocks_of_the_format_are_unpacked() {
        // As `lz4 -12` writes them, in its frames.
        let short =
            b"Oabcd\x04\0\x09\xff\x06, and then 0123456789\x0b\0\x04\x044\0\0/\0\xa0 end of it";
        let long = [
            &b"\x1fa\x01\0\xff\xff\xaa\xff"[..],
            b"<0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyzK\0\xffe\xa0. The end.",
        ];
        let texts = [
            b"abcdabcdabcdabcdabcdabcdabcdabcd, and then 0123456789 0123456789 0123456789 abcdabcd the end of it".to_vec(),
            [&[b'a'; 700][..], &(b'0'..=b'z').collect::<Vec<_>>().repeat(6), b". The end."].concat(),
        ];
        for (block, text) in [short.to_vec(), long.concat()].iter().zip(texts) {
            let mut out = vec![0; text.len()];
            assert_eq!(unpack(block, &mut out), Some(()));
            assert_eq!(out, text);
            for len in [0, text.len() - 1, text.len() + 1, text.len() + 100] {
                assert_eq!(unpack(block, &mut vec![0; len]), None);
            }
            for end in 0..block.len() {
                assert_eq!(unpack(&block[..end], &mut out), None);
            }
        }
    }
}
