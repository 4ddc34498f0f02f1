//! Tables whose heading names their columns.

/// The longest heading, in bytes. Each piece of an input repeats it, and real ones are not this long.
const MAX_HEADING_LEN: usize = 16 * 1024;

/// Where the wanted columns of a table are.
#[derive(Debug)]
pub(crate) struct Columns<const N: usize> {
    /// For each column of the table, which of the wanted ones it is.
    wanted: Vec<Option<usize>>,
}

impl<const N: usize> Columns<N> {
    /// Finds the `wanted` columns among `names`. None if one of them comes twice.
    pub(crate) fn find<'a>(
        names: impl Iterator<Item = &'a [u8]>,
        wanted: &[&str; N],
    ) -> Option<Self> {
        let mut has = [false; N];
        let wanted = names
            .map(|name| {
                let index = wanted.iter().position(|one| one.as_bytes() == name);
                match index {
                    Some(index) if std::mem::replace(&mut has[index], true) => None,
                    index => Some(index),
                }
            })
            .collect::<Option<_>>()?;
        Some(Self { wanted })
    }

    /// Whether the table has this one of the wanted columns.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.wanted.contains(&Some(index))
    }

    /// The values of the wanted columns in a row. None if the row has not as many fields as the heading.
    pub(crate) fn values<'a>(
        &self,
        fields: impl Iterator<Item = &'a [u8]>,
    ) -> Option<[Option<&'a [u8]>; N]> {
        let mut values = [None; N];
        let mut columns = self.wanted.iter();
        for field in fields {
            if let Some(index) = columns.next()? {
                values[*index] = Some(field);
            }
        }
        columns.next().is_none().then_some(values)
    }
}

/// The last heading in `lines`: a line that has `word`, if `is_heading` says so.
pub(crate) fn last_heading<'a>(
    lines: &'a [u8],
    word: &[u8],
    is_heading: impl Fn(&[u8]) -> bool,
) -> Option<&'a [u8]> {
    let word = memchr::memmem::FinderRev::new(word);
    let mut rest = lines;
    while let Some(at) = word.rfind(rest) {
        let start = memchr::memrchr(b'\n', &rest[..at]).map_or(0, |newline| newline + 1);
        let line = super::lines::lines(&rest[start..]).next()?;
        if is_heading(line) {
            return Some(line);
        }
        rest = &rest[..start];
    }
    None
}

/// Whether a line is short enough to be a heading.
pub(crate) fn may_be_heading(line: &[u8]) -> bool {
    line.len() <= MAX_HEADING_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
        line.split(|byte| *byte == b' ')
    }

    #[test]
    fn values_are_found_by_the_name_of_their_column() {
        let columns = Columns::find(words(b"b x a"), &["a", "b", "c"]).unwrap();
        assert!(columns.has(0) && columns.has(1) && !columns.has(2));
        assert_eq!(
            columns.values(words(b"1 2 3")),
            Some([Some(&b"3"[..]), Some(b"1"), None])
        );
        assert_eq!(columns.values(words(b"1 2")), None);
        assert_eq!(columns.values(words(b"1 2 3 4")), None);
    }

    #[test]
    fn a_column_that_comes_twice_is_not_guessed() {
        assert!(Columns::find(words(b"a b a"), &["a"]).is_none());
        assert!(Columns::find(words(b"b a b"), &["a"]).is_some());
    }

    #[test]
    fn the_last_heading_is_found() {
        let is_heading = |line: &[u8]| line.starts_with(b"#f");
        let last = |lines: &'static str| last_heading(lines.as_bytes(), b"#f", is_heading);
        assert_eq!(last(""), None);
        assert_eq!(last("1 #f\n2\n"), None);
        assert_eq!(last("#f 1\r\nx #f #f\n3"), Some(&b"#f 1"[..]));
        assert_eq!(last("#f 1\n#f 2"), Some(&b"#f 2"[..]));
    }
}
