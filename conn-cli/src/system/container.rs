//! Recognizes containers by the names that their runtimes give to cgroups.

use std::fmt;

use super::text::escaped;

/// The hexadecimal digits of a container's id: it is a SHA-256, or as long as one.
const ID_LEN: usize = 64;

/// The digits of an id that are shown, as in `docker ps`.
const SHORT_ID_LEN: usize = 12;

/// The most bytes of a name that are shown.
const MAX_NAME_LEN: usize = 64;

/// What precedes the id in the name of a cgroup: `docker-<id>.scope`. The process that monitors a
/// container has a cgroup with a similar name, `libpod-conmon-` or `crio-conmon-`, which is not a
/// container.
const PREFIXES: [(&str, Runtime); 6] = [
    ("docker", Runtime::Docker),
    ("libpod", Runtime::Podman),
    ("libpod-payload", Runtime::Podman),
    ("cri-containerd", Runtime::Containerd),
    ("nerdctl", Runtime::Containerd),
    ("crio", Runtime::CriO),
];

/// The name of the parent cgroup, where a container's cgroup is named by the bare id.
const PARENTS: [(&str, Runtime); 4] = [
    ("docker", Runtime::Docker),
    ("libpod_parent", Runtime::Podman),
    // The containerd namespaces of the kubelet and of nerdctl
    ("k8s.io", Runtime::Containerd),
    ("default", Runtime::Containerd),
];

/// A container or a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// The runtime that runs it.
    pub runtime: Runtime,
    /// The first 12 digits of its id, or its name, safe to show.
    pub id: String,
    /// The uid of its Kubernetes pod, if it has one.
    pub pod: Option<String>,
}

/// What runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// containerd, for Kubernetes or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// LXC, also for LXD, Incus and Proxmox.
    Lxc,
    /// A machine of systemd-machined: a systemd-nspawn container or a libvirt guest.
    Machine,
    /// One of the above: the name is a container's id, without a hint of the runtime.
    Unknown,
}

/// The innermost container that a cgroup is or is in. Not one of an ordinary user, who can give any name
/// to a cgroup of theirs. A process with permission to create cgroups inside a container, which few have,
/// can choose what is found for it.
#[must_use]
pub(crate) fn container(path: &str) -> Option<Container> {
    let mut rest = outside_users(path);
    loop {
        let (parent, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        if let Some((runtime, id)) = runtime_and_id(parent, name) {
            return Some(Container {
                runtime,
                id,
                pod: rest.rsplit(['/', ':']).find_map(pod),
            });
        }
        if parent.is_empty() {
            return None;
        }
        rest = parent;
    }
}

/// The part of a path in which no ordinary user makes cgroups. systemd lets users do so below
/// `user@<uid>.service`.
fn outside_users(path: &str) -> &str {
    let mut start = 0;
    for part in path.split('/') {
        let is_users = part == "user.slice"
            || part.starts_with("user-") && part.ends_with(".slice")
            || part.starts_with("user@") && part.ends_with(".service");
        if is_users {
            return path[..start].trim_end_matches('/');
        }
        start += part.len() + 1;
    }
    path
}

fn runtime_and_id(parent: &str, name: &str) -> Option<(Runtime, String)> {
    let parent_name = parent.rsplit('/').next().unwrap_or_default();
    let unit = name.strip_suffix(".scope").unwrap_or(name);
    // If a name meant for systemd reaches a driver that makes a directory of it, the name is
    // `kubepods-pod<uid>.slice:cri-containerd:<id>`.
    let (separator, unit) = match unit.split_once(".slice:") {
        Some((_, unit)) => (':', unit),
        None => ('-', unit),
    };
    if let Some((prefix, id)) = unit.rsplit_once(separator)
        && let Some((_, runtime)) = PREFIXES.into_iter().find(|(known, _)| *known == prefix)
        && let Some(id) = short_id(id)
    {
        return Some((runtime, id));
    }
    if let Some(id) = short_id(name) {
        let runtime = PARENTS.into_iter().find(|(known, _)| *known == parent_name);
        return Some((runtime.map_or(Runtime::Unknown, |(_, runtime)| runtime), id));
    }
    let lxc = match parent {
        // Before LXC 4
        "/lxc" | "/lxc.payload" => Some(name),
        _ => name.strip_prefix("lxc.payload."),
    };
    if let Some(name) = lxc {
        return Some((Runtime::Lxc, shown(name)?));
    }
    if parent_name != "machine.slice" {
        return None;
    }
    let machine = match name.strip_suffix(".service") {
        Some(unit) => unit.strip_prefix("systemd-nspawn@"),
        None => name.strip_suffix(".scope")?.strip_prefix("machine-"),
    };
    Some((Runtime::Machine, shown(unescaped(machine?))?))
}

fn short_id(id: &str) -> Option<String> {
    (id.len() == ID_LEN && id.bytes().all(is_hex_digit)).then(|| id[..SHORT_ID_LEN].to_owned())
}

/// The uid in the name of a pod's cgroup: `pod<uid>`, or
/// `kubepods-burstable-pod<uid with underscores>.slice`.
fn pod(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(unit) => unit.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let is_separator = |byte: u8| byte == b'_' || byte == b'-';
    let is_uid = match uid.len() {
        36 => uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => is_separator(byte),
            _ => is_hex_digit(byte),
        }),
        // The uid of a static pod, which the kubelet reads from a file, is a hash.
        32 => uid.bytes().all(is_hex_digit),
        _ => false,
    };
    is_uid.then(|| uid.replace('_', "-"))
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Reverses systemd's escaping of a part of a unit name: `\x2d` is a hyphen.
fn unescaped(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match rest {
            [b'\\', b'x', high, low, ..] if is_hex_digit(*high) && is_hex_digit(*low) => {
                str::from_utf8(&rest[2..4])
                    .ok()
                    .and_then(|code| u8::from_str_radix(code, 16).ok())
            }
            _ => None,
        };
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// A name made safe to show. None if it is empty.
fn shown(name: impl AsRef<[u8]>) -> Option<String> {
    let name = name.as_ref();
    (!name.is_empty()).then(|| escaped(&name[..name.len().min(MAX_NAME_LEN)]))
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Lxc => "lxc",
            Self::Machine => "machine",
            Self::Unknown => "container",
        })
    }
}

/// `docker:1234567890ab`, `kubernetes:<uid of the pod>/containerd:1234567890ab`
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pod) = &self.pod {
            write!(f, "kubernetes:{pod}/")?;
        }
        write!(f, "{}:{}", self.runtime, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER_ID: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";

    fn displayed(path: &str) -> Option<String> {
        container(&path.replace('X', CONTAINER_ID)).map(|container| container.to_string())
    }

    #[test]
    fn each_runtime_is_recognized() {
        for (path, expected) in [
            ("/docker/X", "docker:9ec39b91f3d7"),
            ("/system.slice/docker-X.scope", "docker:9ec39b91f3d7"),
            (
                "/system.slice/docker-X.scope/init.scope",
                "docker:9ec39b91f3d7",
            ),
            ("/../docker-X.scope", "docker:9ec39b91f3d7"),
            ("docker-X.scope", "docker:9ec39b91f3d7"),
            ("/actions_job/X", "container:9ec39b91f3d7"),
            ("/X", "container:9ec39b91f3d7"),
            ("/machine.slice/libpod-X.scope", "podman:9ec39b91f3d7"),
            (
                "/machine.slice/libpod-X.scope/container",
                "podman:9ec39b91f3d7",
            ),
            (
                "/machine.slice/machine-libpod_pod_X.slice/libpod-X.scope/container/system.slice/nginx.service",
                "podman:9ec39b91f3d7",
            ),
            ("/libpod_parent/libpod-X", "podman:9ec39b91f3d7"),
            ("/libpod_parent/X", "podman:9ec39b91f3d7"),
            (
                "/system.slice/nginx.service/libpod-payload-X",
                "podman:9ec39b91f3d7",
            ),
            ("/k8s.io/X", "containerd:9ec39b91f3d7"),
            ("/default/X", "containerd:9ec39b91f3d7"),
            ("/system.slice/nerdctl-X.scope", "containerd:9ec39b91f3d7"),
            ("/system.slice/crio-X.scope", "cri-o:9ec39b91f3d7"),
            ("/lxc.payload.web-1", "lxc:web-1"),
            ("/lxc.payload.web-1/system.slice/nginx.service", "lxc:web-1"),
            ("/lxc/101/ns/system.slice/nginx.service", "lxc:101"),
            ("/lxc.payload/web", "lxc:web"),
            ("/machine.slice/machine-web.scope/payload", "machine:web"),
            (r"/machine.slice/machine-web\x2d1.scope", "machine:web-1"),
            (
                r"/machine.slice/machine-qemu\x2d1\x2ddebian.scope/libvirt/emulator",
                "machine:qemu-1-debian",
            ),
            (
                "/machine.slice/systemd-nspawn@debian.service/payload/init.scope",
                "machine:debian",
            ),
        ] {
            assert_eq!(displayed(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn kubernetes_pods_are_recognized() {
        let uid = "74c13223-5a00-11e9-b385-42010a80018d";
        let hash = "c0f6a7e1b3f0d1f2a8e9c7b6a5d4e3f2";
        for (path, expected) in [
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod74c13223_5a00_11e9_b385_42010a80018d.slice/cri-containerd-X.scope",
                format!("kubernetes:{uid}/containerd:9ec39b91f3d7"),
            ),
            (
                "/kubepods.slice/kubepods-pod74c13223_5a00_11e9_b385_42010a80018d.slice/crio-X.scope",
                format!("kubernetes:{uid}/cri-o:9ec39b91f3d7"),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podc0f6a7e1b3f0d1f2a8e9c7b6a5d4e3f2.slice/docker-X.scope",
                format!("kubernetes:{hash}/docker:9ec39b91f3d7"),
            ),
            (
                "/kubepods/besteffort/pod74c13223-5a00-11e9-b385-42010a80018d/X",
                format!("kubernetes:{uid}/container:9ec39b91f3d7"),
            ),
            (
                "/kubepods/pod74c13223-5a00-11e9-b385-42010a80018d/crio-X",
                format!("kubernetes:{uid}/cri-o:9ec39b91f3d7"),
            ),
            (
                "/system.slice/containerd.service/kubepods-besteffort-pod74c13223_5a00_11e9_b385_42010a80018d.slice:cri-containerd:X",
                format!("kubernetes:{uid}/containerd:9ec39b91f3d7"),
            ),
            // A node that is a container itself
            (
                "/system.slice/docker-X.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod74c13223_5a00_11e9_b385_42010a80018d.slice/cri-containerd-X.scope",
                format!("kubernetes:{uid}/containerd:9ec39b91f3d7"),
            ),
            (
                "/../../pod74c13223-5a00-11e9-b385-42010a80018d/X",
                format!("kubernetes:{uid}/container:9ec39b91f3d7"),
            ),
            // Not a pod
            ("/kubepods/podium/X", "container:9ec39b91f3d7".to_owned()),
        ] {
            assert_eq!(displayed(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_cgroups_are_not_containers() {
        for path in [
            "",
            "/",
            "/init.scope",
            "/system.slice/docker.service",
            "/system.slice/docker-.scope",
            "/system.slice/docker-9ec39b91f3d7.scope",
            "/system.slice/docker-Xa.scope",
            "/machine.slice/libpod-conmon-X.scope",
            "/system.slice/crio-conmon-X.scope",
            "/user.slice/user-1000.slice/session-2.scope",
            "/kubepods.slice/kubepods-pod74c13223_5a00_11e9_b385_42010a80018d.slice",
            "/lxc",
            "/lxc/",
            "/lxc.monitor.web",
            "/lxc.payload.",
            "/machine.slice",
            "/machine.slice/machine-.scope",
            "/machine.slice/machine.service",
            "/system.slice/machine-web.scope",
            "/machine.slice/machine-libpod_pod_X.slice",
            "/a:b:X",
            "/a:docker:X",
            "/a.slice:b:X",
            "/a.slice:docker-X",
            "/:X",
            "::",
            "/docker/../..",
            "//////",
        ] {
            assert_eq!(displayed(path), None, "{path}");
        }
        let capitals = format!("/docker/{}", CONTAINER_ID.to_uppercase());
        assert_eq!(container(&capitals), None);
        assert_eq!(container(&format!("/docker/{}", "é".repeat(32))), None);
        assert_eq!(container(&"/a".repeat(100_000)), None);
        assert_eq!(container(&"/".repeat(1_000_000)), None);
        assert_eq!(container(&"a:".repeat(100_000)), None);
    }

    #[test]
    fn containers_of_users_are_not_believed() {
        let pod = "kubepods-pod74c13223_5a00_11e9_b385_42010a80018d.slice";
        for path in [
            "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-X.scope",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-X.scope/container",
            "/user.slice/X",
            "/user.slice/docker/X",
            "user.slice/docker-X.scope",
            "/../user-1000.slice/user@1000.service/crio-X.scope",
            "/../user@1000.service/lxc.payload.web",
            "/user@0.service/machine.slice/machine-web.scope",
        ] {
            assert_eq!(displayed(path), None, "{path}");
        }
        let path = format!("/user.slice/user-1000.slice/{pod}/cri-containerd-X.scope");
        assert_eq!(displayed(&path), None);
        // Users in a container do not hide it.
        for (path, expected) in [
            (
                "/machine.slice/machine-web.scope/payload/user.slice/user-0.slice/docker-X.scope",
                "machine:web",
            ),
            (
                "/system.slice/docker-X.scope/user.slice/lxc.payload.other",
                "docker:9ec39b91f3d7",
            ),
            ("/lxc.payload.user.slice", "lxc:user.slice"),
        ] {
            assert_eq!(displayed(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn names_are_escaped_and_truncated() {
        for (path, expected) in [
            ("/lxc.payload.\x1b[2J", r"lxc:\u{1b}[2J"),
            (
                r"/machine.slice/machine-a\x1b\x5b2J.scope",
                r"machine:a\u{1b}[2J",
            ),
            (
                r"/machine.slice/machine-\xff\xZZ\x2.scope",
                r"machine:\xff\\xZZ\\x2",
            ),
            (r"/machine.slice/machine-é\x2d.scope", "machine:é-"),
            ("/lxc/..", "lxc:.."),
        ] {
            assert_eq!(displayed(path).as_deref(), Some(expected), "{path}");
        }
        let long = displayed(&format!("/lxc.payload.{}", "a".repeat(255))).unwrap();
        assert_eq!(long.len(), "lxc:".len() + MAX_NAME_LEN);
    }
}
