//! Users by uid and by name, from `/etc/passwd`.

use std::{collections::HashMap, fs::File, io::Read as _};

use super::text::escaped;

const PASSWD: &str = "/etc/passwd";

/// How much of the file is read, in bytes: enough for some hundred thousand users.
const MAX_BYTES: u64 = 16 << 20;

/// The longest name, in bytes. useradd accepts 32, other programs up to 256.
const MAX_NAME_LEN: usize = 256;

/// The fields of a line: name, password, uid, gid, comment, home and shell.
const FIELDS: usize = 7;

/// The users of this machine.
///
/// Only those in `/etc/passwd`: a static binary cannot use the system's libraries for other
/// sources, so users of LDAP or systemd-homed have no name here. In a container the same uid may be
/// another user, and in a user namespace a user may have another uid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Users {
    names: HashMap<u32, Box<str>>,
    uids: HashMap<Box<[u8]>, u32>,
}

impl Users {
    /// Reads `/etc/passwd`. Empty if it cannot be read.
    #[must_use]
    pub(crate) fn read() -> Self {
        let mut passwd = Vec::new();
        let file = File::open(PASSWD).map(|file| file.take(MAX_BYTES));
        match file.and_then(|mut file| file.read_to_end(&mut passwd)) {
            Ok(_) => Self::parse(&passwd),
            Err(_) => Self::default(),
        }
    }

    /// Parses text in the format of `/etc/passwd`. Invalid lines are skipped. Of several lines with
    /// the same name or uid, the first one wins, as in the C library.
    #[must_use]
    pub(crate) fn parse(passwd: &[u8]) -> Self {
        let mut users = Self::default();
        for line in passwd.split(|&byte| byte == b'\n') {
            if let Some((name, uid)) = user(line) {
                let shown = || escaped(name).into();
                users.names.entry(uid).or_insert_with(shown);
                users.uids.entry(name.into()).or_insert(uid);
            }
        }
        users
    }

    /// A user's name, safe to show.
    #[must_use]
    pub(crate) fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(|name| &**name)
    }

    /// The uid of the user with this name.
    #[must_use]
    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        self.uids.get(name.as_bytes()).copied()
    }

    /// The uid of a user given by name or by uid. A number that is a user's name is a name, as for
    /// chown(1).
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn resolve(&self, user: &str) -> Result<u32, String> {
        self.uid(user)
            .or_else(|| number(user.as_bytes()))
            .ok_or_else(|| {
                let user = escaped(user.as_bytes());
                format!("there is no user '{user}' in {PASSWD}; give the uid instead")
            })
    }
}

/// The name and the uid in a line. None for lines that begin with a sign, which include users from
/// other sources.
fn user(line: &[u8]) -> Option<(&[u8], u32)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut fields = line.split(|&byte| byte == b':');
    let (name, _password, uid) = (fields.next()?, fields.next()?, fields.next()?);
    let is_name = !matches!(name.first(), None | Some(b'+' | b'-' | b'#'));
    let is_line = fields.count() == FIELDS - 3;
    if !is_name || !is_line || name.len() > MAX_NAME_LEN {
        return None;
    }
    Some((name, number(uid)?))
}

/// Parses a uid. The largest number means no user in all system calls.
fn number(text: &[u8]) -> Option<u32> {
    // `parse` accepts a sign.
    let is_number = text.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(text).ok()?.parse().ok();
    number.filter(|&number| is_number && number < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
                          toor:x:0:0::/root:/bin/sh\n\
                          www-data:x:34:34::/:\n\
                          12:x:1012:1012:a user with a number for a name:/:\n\
                          caf\u{e9}:x:1000:1000:,,,:/home/cafe:/bin/sh";

    #[test]
    fn names_and_uids_are_found() {
        let users = Users::parse(PASSWD.as_bytes());
        assert_eq!(users.name(33), Some("www-data"));
        assert_eq!(users.uid("www-data"), Some(33));
        assert_eq!(users.name(1000), Some("caf\u{e9}"));
        assert_eq!(users.uid("caf\u{e9}"), Some(1000));
        assert_eq!(users.name(1), None);
        assert_eq!(users.uid("nobody"), None);
        assert_eq!(users.uid(""), None);
    }

    #[test]
    fn first_line_wins() {
        let users = Users::parse(PASSWD.as_bytes());
        assert_eq!(users.name(0), Some("root"));
        assert_eq!(users.uid("toor"), Some(0));
        assert_eq!(users.uid("www-data"), Some(33));
        assert_eq!(users.name(34), Some("www-data"));
    }

    #[test]
    fn users_resolve_by_name_or_uid() {
        let users = Users::parse(PASSWD.as_bytes());
        assert_eq!(users.resolve("root"), Ok(0));
        assert_eq!(users.resolve("4294967294"), Ok(4_294_967_294));
        assert_eq!(users.resolve("33"), Ok(33));
        assert_eq!(users.resolve("12"), Ok(1012));
        for user in [
            "",
            "nobody",
            "+1",
            "-1",
            "4294967295",
            "4294967296",
            "0x1",
            "1 ",
            "٣",
        ] {
            let error = users.resolve(user).unwrap_err();
            assert!(error.contains(&format!("'{user}'")), "{error}");
        }
        let error = users.resolve("\x1b[2J").unwrap_err();
        assert!(!error.contains(char::is_control), "{error:?}");
    }

    #[test]
    fn invalid_lines_are_skipped() {
        let lines = [
            "",
            ":x:1:1::/:",
            "a:x:1:1::/",
            "a:x:1:1::/:/bin/sh:",
            "a",
            "a:x:+1:1::/:",
            "a:x:-1:1::/:",
            "a:x::1::/:",
            "a:x:one:1::/:",
            "a:x:4294967295:1::/:",
            "a:x:99999999999999999999:1::/:",
            "# a:x:1:1::/:",
            "+a:x:1:1::/:",
            "-a:x:1:1::/:",
            "+::::::",
            ":::::::::::::::::::::",
            &format!("{}:x:1:1::/:", "a".repeat(MAX_NAME_LEN + 1)),
        ];
        for line in lines {
            let users = Users::parse(line.as_bytes());
            assert!(users.names.is_empty() && users.uids.is_empty(), "{line}");
        }
        let mut all = lines.join("\n");
        all.push_str("\nb:x:2:2::/:\r\n");
        let users = Users::parse(all.as_bytes());
        assert_eq!((users.name(2), users.names.len()), (Some("b"), 1));
    }

    #[test]
    fn control_characters_in_names_are_escaped() {
        let users = Users::parse(b"a\x1b[2J:x:1:1::/:\n\xff\xfe:x:2:2::/:\nb\rc\0:x:3:3::/:\n");
        assert_eq!(users.name(1), Some(r"a\u{1b}[2J"));
        assert_eq!(users.uid("a\x1b[2J"), Some(1));
        assert_eq!(users.name(2), Some(r"\xff\xfe"));
        assert_eq!(users.name(3), Some(r"b\rc\u{0}"));
    }

    #[test]
    fn truncated_files_are_parsed() {
        for length in 0..PASSWD.len() {
            let users = Users::parse(&PASSWD.as_bytes()[..length]);
            assert!(users.names.len() <= 5);
        }
        assert_eq!(Users::parse(&[b':'; 100_000]).names.len(), 0);
    }

    #[test]
    fn root_is_found_on_this_machine() {
        if std::path::Path::new(super::PASSWD).exists() {
            assert_eq!(Users::read().uid("root"), Some(0));
        }
    }
}
