//! `host`: the machine that the agent runs on, and the control group that it runs in, under node_exporter's and
//! cAdvisor's names. Files of the kernel only: a look opens no connection and starts no process.

mod cgroup;
mod devices;
mod files;
mod filesystem;
mod filter;
mod machine;
mod metrics;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use self::files::Files;
use self::filter::Filter;
use super::{Failure, Path, Reason, Report};
use crate::net::Net;
use crate::node;
use crate::sample::Metric;

pub const SCHEMES: &[&str] = &[];
pub const METRICS: &[&Metric] = metrics::ALL;

/// What is configured under `host:`. All of it may be left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the host's `/proc` is.
    pub proc: PathBuf,
    /// Where the host's `/` is: a filesystem that is mounted at `/data` is looked for below it.
    pub root: PathBuf,
    /// Mount points that are left out.
    pub mount_points_exclude: String,
    /// Types of filesystems that are left out.
    pub fs_types_exclude: String,
    /// Disks that are left out.
    pub disks_exclude: String,
    /// Network interfaces that are left out.
    pub networks_exclude: String,
}

impl Default for Settings {
    /// node_exporter's, and what kubelet and containerd mount for each container.
    fn default() -> Self {
        Settings {
            proc: "/proc".into(),
            root: "/".into(),
            mount_points_exclude: "^/(dev|proc|sys|run/(containerd|credentials|k3s/containerd|netns)/.+\
                                   |var/lib/(docker|kubelet/pods|containers/storage)/.+)($|/)"
                .to_owned(),
            fs_types_exclude: "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|erofs\
                               |fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|ramfs|rpc_pipefs\
                               |securityfs|selinuxfs|squashfs|sysfs|tracefs)$"
                .to_owned(),
            disks_exclude: r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]+|nvme\d+n\d+p|mmcblk\d+p)\d+$".to_owned(),
            networks_exclude: "^(veth|cali|lxc)".to_owned(),
        }
    }
}

impl Settings {
    /// No scheme leads here.
    pub fn from_url(url: &str) -> Result<Self, String> {
        Err(format!("{url:?}: a host is no URL: name a target with `host: {{}}` in a configuration file"))
    }

    /// The node's name.
    pub fn instance(&self) -> Result<String, String> {
        Ok(node::name())
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let paths = [("proc", &self.proc), ("root", &self.root)];
        let relative = paths.into_iter().filter(|(_, path)| !path.is_absolute());
        let relative = relative.map(|(key, path)| (key, format!("{path:?} is no absolute path: write it from / on")));
        let wrong = self.patterns().into_iter().filter_map(|(key, text)| Some((key, Filter::new(text).err()?)));
        relative.chain(wrong).collect()
    }

    fn patterns(&self) -> [(&'static str, &str); 4] {
        [
            ("mount_points_exclude", &self.mount_points_exclude),
            ("fs_types_exclude", &self.fs_types_exclude),
            ("disks_exclude", &self.disks_exclude),
            ("networks_exclude", &self.networks_exclude),
        ]
    }

    /// Nothing is held.
    pub fn reconnect(&self) -> Option<Duration> {
        None
    }

    /// There is no name.
    pub fn instances(&self) -> Option<String> {
        None
    }
}

/// Looks at one machine.
pub struct Prober(Box<Machine>);

/// What is to be read, and what is kept from look to look.
struct Machine {
    settings: Settings,
    filters: Result<[Filter; 4], String>,
    files: Files,
    cpus: machine::Cpus,
    mounts: filesystem::Mounts,
    cgroup: cgroup::Cgroup,
}

impl Prober {
    pub fn new(settings: Settings, _net: Arc<Net>) -> Self {
        Prober(Box::new(Machine {
            filters: filters(&settings),
            settings,
            files: Files::default(),
            cpus: machine::Cpus::default(),
            mounts: filesystem::Mounts::default(),
            cgroup: cgroup::Cgroup::default(),
        }))
    }

    /// Everything is read at once: the kernel's own files keep nobody waiting.
    pub async fn look(&mut self, _path: Path) -> Report {
        let mut report = Report::default();
        report.failure = self.0.read(&mut report).err();
        report
    }

    /// Nothing is kept over restarts.
    pub fn recall(&mut self, _memory: &str) {}

    pub async fn broken(&mut self) -> Failure {
        std::future::pending().await
    }
}

impl Machine {
    fn read(&mut self, report: &mut Report) -> Result<(), Failure> {
        let Machine { settings, filters, files, cpus, mounts, cgroup } = self;
        let [points, types, disks, networks] =
            filters.as_mut().map_err(|error| Failure::new(Reason::Unreadable, "read", &*error))?;
        let proc = settings.proc.as_path();
        let start = Instant::now();
        // What every Linux has. Where it is not there, neither is anything else.
        let stat = files.read(proc, "stat").map_err(|error| unreadable(proc, &error))?;
        machine::times(&String::from_utf8_lossy(stat), cpus, report);
        machine::load(files, proc, report);
        machine::memory(files, proc, report);
        machine::oom_kills(files, proc, report);
        machine::file_handles(files, proc, report);
        machine::connections(files, proc, report);
        machine::names(report);
        devices::disks(files, proc, disks, report);
        devices::networks(files, proc, networks, report);
        report.phases.push(("proc", start.elapsed()));
        let start = Instant::now();
        mounts.read(files, proc, &settings.root, &mut filesystem::Excluded { points, types }, report);
        report.phases.push(("filesystems", start.elapsed()));
        let start = Instant::now();
        cgroup.read(files, proc, report);
        report.phases.push(("cgroup", start.elapsed()));
        filters.iter_mut().flatten().for_each(Filter::rest);
        Ok(())
    }
}

/// Settings that `check` finds nothing wrong with always make filters.
fn filters(settings: &Settings) -> Result<[Filter; 4], String> {
    let [points, types, disks, networks] = settings.patterns().map(|(_, pattern)| Filter::new(pattern));
    Ok([points?, types?, disks?, networks?])
}

fn unreadable(proc: &std::path::Path, error: &io::Error) -> Failure {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    let reason = match error.raw_os_error() {
        Some(EMFILE | ENFILE) => Reason::OutOfResources,
        _ => Reason::Unreadable,
    };
    let place = proc.join("stat");
    Failure::new(
        reason,
        "read",
        format!("cannot read {}: {error}: `proc` must name the host's /proc, readable to the agent", place.display()),
    )
}

/// Says of what there was more than a look reports.
fn left_out(report: &mut Report, what: &'static str, count: usize) {
    if count > 0 {
        report.read_with(&metrics::LEFT_OUT, vec![("what", what.to_owned())], count as f64);
        report.warnings.push(format!("{count} more {what} than a look reports are left out"));
    }
}
