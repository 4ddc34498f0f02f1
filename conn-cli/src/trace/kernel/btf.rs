//! A minimal parser of the kernel's BTF, which finds the offsets of structure members and the ids
//! of functions (`Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`).
//!
//! aya parses all of the BTF and does not expose the members. This parser walks the types once and
//! stores only where each begins.

use std::ops::Range;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// The maximum nesting of unnamed members, typedefs and qualifiers. The kernel uses three levels.
const MAX_DEPTH: u32 = 8;

/// BTF in memory, in native byte order.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    bytes: &'a [u8],
    strings: Range<usize>,
    /// The offset at which each type begins. The first type has the id 1.
    types: Vec<u32>,
}

impl<'a> Btf<'a> {
    /// Finds the types. None if the bytes are not BTF in a known format.
    #[must_use]
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        if magic != 0xeb9f || *bytes.get(2)? != 1 {
            return None;
        }
        let word = |at| word(bytes, at);
        let header = word(4)? as usize;
        let begin = header.checked_add(word(8)? as usize)?;
        let end = begin.checked_add(word(12)? as usize)?;
        let strings = header.checked_add(word(16)? as usize)?;
        let strings = strings..strings.checked_add(word(20)? as usize)?;
        if end > bytes.len() || strings.end > bytes.len() {
            return None;
        }
        let mut types = Vec::new();
        let mut at = begin;
        while at < end {
            types.push(u32::try_from(at).ok()?);
            at = at.checked_add(type_size(word(at + 4)?)?)?;
        }
        Some(Self {
            bytes,
            strings,
            types,
        })
    }

    /// The offset in bytes of the member at `path` in the structure named `name`:
    /// `["ns", "inum"]` is the member `inum` of the member `ns`. Unnamed members are searched
    /// as well. None if there is no such structure or member, or it is a bit field.
    #[must_use]
    pub(super) fn offset(&self, name: &str, path: &[&str]) -> Option<u16> {
        let mut at = self.types[self.find(KIND_STRUCT, name)?] as usize;
        let mut bits = 0;
        for step in path {
            let (offset, id) = self.member(at, step, MAX_DEPTH)?;
            bits = offset.checked_add(bits)?;
            at = self.type_at(id)?;
        }
        (bits % 8 == 0).then(|| u16::try_from(bits / 8).ok())?
    }

    /// The id of the function named `name`.
    #[must_use]
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        u32::try_from(self.find(KIND_FUNC, name)? + 1).ok()
    }

    /// The index of the first type of this kind and name.
    fn find(&self, wanted: u32, name: &str) -> Option<usize> {
        self.types.iter().position(|&at| {
            let at = at as usize;
            word(self.bytes, at + 4).is_some_and(|info| kind(info) == wanted)
                && word(self.bytes, at).is_some_and(|offset| self.is_named(offset, name))
        })
    }

    /// The offset in bits and the type id of a member of the structure or union at `at`.
    fn member(&self, at: usize, name: &str, depth: u32) -> Option<(u32, u32)> {
        let info = word(self.bytes, at + 4)?;
        if !matches!(kind(info), KIND_STRUCT | KIND_UNION) || depth == 0 {
            return None;
        }
        for index in 0..vlen(info) {
            let member = at + 12 + index * 12;
            let id = word(self.bytes, member + 4)?;
            let mut offset = word(self.bytes, member + 8)?;
            // If the kind flag is set, the upper byte is the width of a bit field.
            if info >> 31 == 1 {
                offset &= 0x00ff_ffff;
            }
            let name_offset = word(self.bytes, member)?;
            if self.is_named(name_offset, name) {
                return Some((offset, id));
            }
            if self.is_named(name_offset, "")
                && let Some(within) = self.type_at(id)
                && let Some((inner, id)) = self.member(within, name, depth - 1)
            {
                return Some((offset.checked_add(inner)?, id));
            }
        }
        None
    }

    /// Where the type with this id is, after resolving typedefs and qualifiers.
    fn type_at(&self, mut id: u32) -> Option<usize> {
        for _ in 0..MAX_DEPTH {
            let index = usize::try_from(id).ok()?.checked_sub(1)?;
            let at = *self.types.get(index)? as usize;
            match kind(word(self.bytes, at + 4)?) {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST => id = word(self.bytes, at + 8)?,
                _ => return Some(at),
            }
        }
        None
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let strings = &self.bytes[self.strings.clone()];
        strings
            .get(offset as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    word.try_into().ok().map(u32::from_ne_bytes)
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

fn vlen(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// The size of a type: its header and what follows it. None for an unknown kind.
fn type_size(info: u32) -> Option<usize> {
    let tail = match kind(info) {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * vlen(info),
        KIND_ENUM | KIND_FUNC_PROTO => 8 * vlen(info),
        0 | 20.. => return None,
        _ => 0,
    };
    Some(12 + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF type by type.
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn new() -> Self {
            Self {
                types: Vec::new(),
                strings: vec![0],
            }
        }

        fn string(&mut self, text: &str) -> u32 {
            if text.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend(text.bytes().chain([0]));
            at
        }

        fn add(&mut self, name: &str, kind: u32, vlen: u32, tail: &[u32]) {
            let name = self.string(name);
            for word in [name, kind << 24 | vlen, 8].iter().chain(tail) {
                self.types.extend(word.to_ne_bytes());
            }
        }

        fn add_reference(&mut self, name: &str, kind: u32, id: u32) {
            let name = self.string(name);
            for word in [name, kind << 24, id] {
                self.types.extend(word.to_ne_bytes());
            }
        }

        fn composite(&mut self, name: &str, kind: u32, members: &[(&str, u32, u32)]) {
            let mut tail = Vec::new();
            for &(name, id, bits) in members {
                tail.extend([self.string(name), id, bits]);
            }
            self.add(name, kind, members.len() as u32, &tail);
        }

        fn build(&self) -> Vec<u8> {
            let mut bytes = Vec::new();
            bytes.extend(0xeb9f_u16.to_ne_bytes());
            bytes.extend([1, 0]);
            let types = self.types.len() as u32;
            for word in [24, 0, types, types, self.strings.len() as u32] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(&self.types);
            bytes.extend(&self.strings);
            bytes
        }
    }

    /// A type of every kind, and nested structures like the kernel's.
    fn sample() -> Vec<u8> {
        let mut btf = Builder::new();
        btf.add("int", KIND_INT, 0, &[32]); // 1
        btf.add("", 2, 0, &[]); // 2: a pointer
        btf.add("", KIND_ARRAY, 0, &[1, 1, 4]); // 3
        btf.add("colour", KIND_ENUM, 2, &[0, 0, 0, 1]); // 4
        btf.add("", KIND_FUNC_PROTO, 1, &[0, 1]); // 5
        btf.add("v", KIND_VAR, 0, &[1]); // 6
        btf.add("big", KIND_ENUM64, 1, &[0, 0, 0]); // 7
        btf.add("tag", KIND_DECL_TAG, 0, &[0]); // 8
        btf.composite("", KIND_STRUCT, &[("dport", 1, 0), ("num", 1, 16)]); // 9
        btf.composite("", KIND_UNION, &[("pair", 1, 0), ("", 9, 0)]); // 10
        btf.composite("common", KIND_STRUCT, &[("daddr", 1, 0), ("", 10, 96)]); // 11
        btf.composite("sock", KIND_STRUCT, &[("common", 11, 0), ("odd", 1, 131)]); // 12
        // A forward declaration of the same name must not match.
        btf.add("sock", 7, 0, &[]); // 13
        btf.add_reference("common_t", KIND_TYPEDEF, 15); // 14
        btf.add_reference("", KIND_CONST, 11); // 15
        btf.composite("outer", KIND_STRUCT, &[("x", 1, 0), ("inner", 14, 64)]); // 16
        btf.add_reference("endless", KIND_TYPEDEF, 17); // 17
        btf.composite("bad", KIND_STRUCT, &[("endless", 17, 0)]); // 18
        btf.add_reference("sock", KIND_FUNC, 5); // 19
        btf.build()
    }

    #[test]
    fn members_are_found_inside_unnamed_members() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.types.len(), 19);
        assert_eq!(btf.offset("common", &["daddr"]), Some(0));
        assert_eq!(btf.offset("common", &["dport"]), Some(12));
        assert_eq!(btf.offset("common", &["num"]), Some(14));
        assert_eq!(btf.offset("sock", &["common", "num"]), Some(14));
        assert_eq!(btf.offset("outer", &["inner", "num"]), Some(8 + 14));
    }

    #[test]
    fn functions_are_told_apart_from_structures_of_the_same_name() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.function("sock"), Some(19));
        assert_eq!(btf.function("common"), None);
    }

    #[test]
    fn missing_members_give_none() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("common", &["dpor"]), None);
        assert_eq!(btf.offset("common", &["dportx"]), None);
        assert_eq!(btf.offset("commo", &["daddr"]), None);
        assert_eq!(btf.offset("common", &["daddr", "x"]), None);
        assert_eq!(btf.offset("colour", &["x"]), None);
        assert_eq!(btf.offset("sock", &["odd"]), None, "a bit field");
        assert_eq!(btf.offset("bad", &["endless", "x"]), None);
    }

    #[test]
    fn a_recursive_structure_terminates() {
        let mut btf = Builder::new();
        btf.composite("loop", KIND_STRUCT, &[("", 1, 0), ("", 1, 0)]);
        let bytes = btf.build();
        assert_eq!(Btf::parse(&bytes).unwrap().offset("loop", &["x"]), None);
    }

    #[test]
    fn truncated_or_corrupt_btf_never_panics() {
        let bytes = sample();
        for length in 0..bytes.len() {
            if let Some(btf) = Btf::parse(&bytes[..length]) {
                assert_eq!(btf.offset("sock", &["none"]), None);
            }
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Some(btf) = Btf::parse(&changed) {
                    let _ = btf.offset("sock", &["common", "num"]);
                }
            }
        }
    }
}
