//! The control group that the agent runs in: its pod's container, or its service. Version 2, and version 1 where
//! the machine still has its controllers there.

use std::path::{Path, PathBuf};

use super::files::{Files, keyed, number};
use super::metrics as m;
use crate::probe::Report;

/// Version 1 writes "no limit" as the largest number of whole pages.
const NO_LIMIT: f64 = (1_u64 << 62) as f64;
const MICROSECOND: f64 = 1e-6;
const NANOSECOND: f64 = 1e-9;

/// Where the kernel keeps the figures of our group, found again when we are moved to another.
#[derive(Default)]
pub struct Cgroup {
    /// What `/proc/self/cgroup` said.
    said: Vec<u8>,
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
}

impl Cgroup {
    pub fn read(&mut self, files: &mut Files, proc: &Path, report: &mut Report) {
        let Ok(said) = files.read(proc, "self/cgroup") else { return };
        if said != self.said {
            self.said = said.to_vec();
            self.find(files, proc);
        }
        if let Some(folder) = &self.unified {
            memory(files, folder, report);
            cpu(files, folder, report);
        }
        if let Some(folder) = &self.memory {
            old_memory(files, folder, report);
        }
        if let Some(folder) = &self.cpu {
            old_cpu(files, folder, report);
        }
        if let Some(nanoseconds) = self.cpuacct.as_ref().and_then(|folder| files.number(folder, "cpuacct.usage")) {
            used(report, nanoseconds * NANOSECOND);
        }
    }

    /// A group at the top is no group of our own: its figures are the whole machine's.
    fn find(&mut self, files: &mut Files, proc: &Path) {
        let table = files.text(proc, "self/mountinfo").unwrap_or_default().into_owned();
        let said = String::from_utf8_lossy(&self.said);
        let old =
            |controller| folder(&said, &table, controller).filter(|folder| !folder.join("release_agent").exists());
        (self.memory, self.cpu, self.cpuacct) = (old("memory"), old("cpu"), old("cpuacct"));
        self.unified = folder(&said, &table, "").filter(|folder| folder.join("cgroup.type").exists());
    }
}

/// The folder of our group for a controller of version 1, or "" for version 2.
fn folder(said: &str, table: &str, controller: &str) -> Option<PathBuf> {
    let ours = said.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    table.lines().find_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        let mut what = what.split(' ');
        let (fstype, _, options) = (what.next()?, what.next()?, what.next()?);
        let fits = match controller {
            "" => fstype == "cgroup2",
            controller => fstype == "cgroup" && options.split(',').any(|option| option == controller),
        };
        let mut place = place.split(' ').skip(3);
        let (top, point) = (place.next()?, place.next()?);
        // What is mounted may itself be a group, above ours or ours.
        let below = Path::new(ours).strip_prefix(top).ok().filter(|_| fits)?;
        Some(if below.as_os_str().is_empty() { PathBuf::from(point) } else { Path::new(point).join(below) })
    })
}

fn memory(files: &mut Files, folder: &Path, report: &mut Report) {
    let Some(usage) = files.number(folder, "memory.current") else { return };
    let droppable = files.text(folder, "memory.stat").and_then(|text| keyed(&text, "inactive_file"));
    usage_of(report, usage, droppable);
    if let Some(limit) = files.number(folder, "memory.max") {
        report.read(&m::CONTAINER_MEMORY_LIMIT, limit);
    }
    if let Some(kills) = files.text(folder, "memory.events").and_then(|text| keyed(&text, "oom_kill")) {
        report.read(&m::CONTAINER_OOM_EVENTS, kills);
    }
}

fn usage_of(report: &mut Report, usage: f64, droppable: Option<f64>) {
    report.read(&m::CONTAINER_MEMORY_USAGE, usage);
    if let Some(droppable) = droppable {
        report.read(&m::CONTAINER_MEMORY_WORKING_SET, (usage - droppable).max(0.0));
    }
}

fn cpu(files: &mut Files, folder: &Path, report: &mut Report) {
    if let Some(text) = files.text(folder, "cpu.stat") {
        if let Some(microseconds) = keyed(&text, "usage_usec") {
            used(report, microseconds * MICROSECOND);
        }
        throttling(&text, ("throttled_usec", MICROSECOND), report);
    }
    // `max 100000`, or `50000 100000`.
    let limit = files.text(folder, "cpu.max");
    let (quota, period) = limit.as_deref().and_then(|text| text.trim().split_once(' ')).unzip();
    limits(report, quota.and_then(number), period.and_then(number));
}

/// As cAdvisor has it: the sum over all CPUs.
fn used(report: &mut Report, seconds: f64) {
    report.read_with(&m::CONTAINER_CPU_SECONDS, vec![("cpu", "total".to_owned())], seconds);
}

fn throttling(text: &str, (time, unit): (&str, f64), report: &mut Report) {
    let fields = [
        (&m::CONTAINER_CFS_PERIODS, "nr_periods", 1.0),
        (&m::CONTAINER_CFS_THROTTLED_PERIODS, "nr_throttled", 1.0),
        (&m::CONTAINER_CFS_THROTTLED_SECONDS, time, unit),
    ];
    for (metric, field, unit) in fields {
        if let Some(value) = keyed(text, field) {
            report.read(metric, value * unit);
        }
    }
}

fn limits(report: &mut Report, quota: Option<f64>, period: Option<f64>) {
    if let (Some(quota), Some(period)) = (quota, period) {
        report.read(&m::CONTAINER_CPU_QUOTA, quota);
        report.read(&m::CONTAINER_CPU_PERIOD, period);
    }
}

fn old_memory(files: &mut Files, folder: &Path, report: &mut Report) {
    let Some(usage) = files.number(folder, "memory.usage_in_bytes") else { return };
    let droppable = files.text(folder, "memory.stat").and_then(|text| keyed(&text, "total_inactive_file"));
    usage_of(report, usage, droppable);
    if let Some(limit) = files.number(folder, "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT) {
        report.read(&m::CONTAINER_MEMORY_LIMIT, limit);
    }
    if let Some(kills) = files.text(folder, "memory.oom_control").and_then(|text| keyed(&text, "oom_kill")) {
        report.read(&m::CONTAINER_OOM_EVENTS, kills);
    }
}

fn old_cpu(files: &mut Files, folder: &Path, report: &mut Report) {
    if let Some(text) = files.text(folder, "cpu.stat") {
        throttling(&text, ("throttled_time", NANOSECOND), report);
    }
    // −1 is no quota, which is no number to `Files`.
    let quota = files.number(folder, "cpu.cfs_quota_us");
    let period = files.number(folder, "cpu.cfs_period_us");
    limits(report, quota, period);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "30 1 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                         31 30 0:2 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         32 30 0:3 /kubepods/pod1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         33 30 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_group_is_found_below_what_is_mounted() {
        let said = "4:memory:/kubepods/pod1/c1\n2:cpu,cpuacct:/kubepods\n0::/system.slice/watchkeeper.service\n";
        let found = |controller| folder(said, TABLE, controller).unwrap();
        assert_eq!(found("memory"), Path::new("/sys/fs/cgroup/memory/c1"));
        assert_eq!(found("cpuacct"), Path::new("/sys/fs/cgroup/cpu,cpuacct/kubepods"));
        assert_eq!(found(""), Path::new("/sys/fs/cgroup/unified/system.slice/watchkeeper.service"));
        assert_eq!(folder(said, TABLE, "pids"), None);
        assert_eq!(folder("4:memory:/elsewhere\n", TABLE, "memory"), None, "it is mounted nowhere");
    }
}
