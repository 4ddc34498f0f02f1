//! Compares the server's identity in `/proc` with the process in conn-cli's live lines.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, ensure};
use lab::report::Report;
use serde_json::Value;

use crate::context::Context;

/// The identity of a running server, as `/proc` shows it.
pub(crate) struct Identity {
    pid: u32,
    uid: u32,
    comm: String,
    netns: u64,
}

impl Identity {
    pub(crate) fn read(pid: u32) -> Result<Self> {
        let proc = format!("/proc/{pid}");
        let uid = fs::metadata(&proc).context("the server is gone")?.uid();
        let comm = fs::read_to_string(format!("{proc}/comm"))?;
        let netns = fs::metadata(format!("{proc}/ns/net"))?.ino();
        Ok(Self {
            pid,
            uid,
            comm: comm.trim_end_matches('\n').to_owned(),
            netns,
        })
    }

    /// Every live line must name the server, as far as the hook knows it.
    pub(crate) fn check(&self, report: &Report, context: &Context) -> Result<()> {
        let netns = context.shows_netns().then_some(self.netns);
        report.check_live(&[("netns", netns.into())])?;
        if !context.hook.sees_accepts() {
            // Such a hook runs in whatever task the packet interrupts.
            let unknown = ["pid", "tid", "comm", "uid", "cgroup"].map(|key| (key, Value::Null));
            return report.check_live(&unknown);
        }
        report.check_live(&[("pid", self.pid.into()), ("uid", self.uid.into())])?;
        for line in &report.live {
            let comm = line["comm"].as_str().context("no comm")?;
            ensure!(
                comm.starts_with(&self.comm),
                "comm is not {:?}: {line}",
                self.comm
            );
        }
        Ok(())
    }
}
