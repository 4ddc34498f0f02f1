//! Users by number and by name, as `/etc/passwd` has them.

use std::{collections::HashMap, fs::File, io::Read as _};

use crate::connection::escaped;

const PASSWD: &str = "/etc/passwd";

/// Of the file, in bytes: room for some hundred thousand users.
const MAX_BYTES: u64 = 16 << 20;

/// Of a name, in bytes. useradd takes 32, other programs up to 256.
const MAX_NAME_LEN: usize = 256;

/// The fields of a line: name, password, uid, gid, comment, home and shell.
const FIELDS: usize = 7;

/// The users of this machine.
///
/// Only those in `/etc/passwd`: a static binary cannot ask the libraries by which the system
/// knows of others, so users of LDAP or systemd-homed have no name here. A process in a container
/// may have another user in mind by the same number, and in a user namespace another number.
#[derive(Clone, Debug, Default)]
pub struct Users {
    names: HashMap<u32, Box<str>>,
    uids: HashMap<Box<[u8]>, u32>,
}

impl Users {
    /// The users in `/etc/passwd`; nobody if it cannot be read.
    #[must_use]
    pub fn read() -> Self {
        let mut passwd = Vec::new();
        let file = File::open(PASSWD).map(|file| file.take(MAX_BYTES));
        match file.and_then(|mut file| file.read_to_end(&mut passwd)) {
            Ok(_) => Self::parse(&passwd),
            Err(_) => Self::default(),
        }
    }

    /// The users in a text like that of `/etc/passwd`. A line that is not like that is left out;
    /// of several with the same name, or the same number, the first one holds, as it does for
    /// the C library.
    #[must_use]
    pub fn parse(passwd: &[u8]) -> Self {
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
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(|name| &**name)
    }

    /// The number of the user with this name.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.uids.get(name.as_bytes()).copied()
    }

    /// The number of a user who is given by name or by number. A name that is a number is a
    /// name, as it is for chown(1).
    ///
    /// # Errors
    /// That it is neither.
    pub fn resolve(&self, user: &str) -> Result<u32, String> {
        self.uid(user)
            .or_else(|| number(user.as_bytes()))
            .ok_or_else(|| {
                let user = escaped(user.as_bytes());
                format!("there is no user '{user}' in {PASSWD}; any user can be given by number")
            })
    }
}

/// The name and the number in a line. Those that begin with a sign include users from
/// elsewhere.
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

/// The largest number means no user, in all calls that take one.
fn number(text: &[u8]) -> Option<u32> {
    // `parse` takes a sign.
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
    fn names_and_numbers() {
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
    fn the_first_one_holds() {
        let users = Users::parse(PASSWD.as_bytes());
        assert_eq!(users.name(0), Some("root"));
        assert_eq!(users.uid("toor"), Some(0));
        assert_eq!(users.uid("www-data"), Some(33));
        assert_eq!(users.name(34), Some("www-data"));
    }

    #[test]
    fn a_user_may_be_given_either_way() {
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
    fn hostile_lines_are_left_out() {
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
    fn a_name_cannot_send_control_characters() {
        let users = Users::parse(b"a\x1b[2J:x:1:1::/:\n\xff\xfe:x:2:2::/:\nb\rc\0:x:3:3::/:\n");
        assert_eq!(users.name(1), Some(r"a\u{1b}[2J"));
        assert_eq!(users.uid("a\x1b[2J"), Some(1));
        assert_eq!(users.name(2), Some(r"\xff\xfe"));
        assert_eq!(users.name(3), Some(r"b\rc\u{0}"));
    }

    #[test]
    fn any_bytes_are_parsed() {
        for length in 0..PASSWD.len() {
            let users = Users::parse(&PASSWD.as_bytes()[..length]);
            assert!(users.names.len() <= 5);
        }
        assert_eq!(Users::parse(&[b':'; 100_000]).names.len(), 0);
    }

    #[test]
    fn this_machine_has_a_root() {
        if std::path::Path::new(super::PASSWD).exists() {
            assert_eq!(Users::read().uid("root"), Some(0));
        }
    }
}
