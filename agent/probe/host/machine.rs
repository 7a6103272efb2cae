//! What `/proc` says of the machine as a whole: CPUs, load, memory, file handles, connections, its name.

use std::path::Path;

use super::files::{Files, keyed, number};
use super::metrics as m;
use crate::clock;
use crate::probe::Report;
use crate::sample::Metric;

/// The kernel's unit of CPU time, as it is shown to programs: a hundredth of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// A CPU that is idle for less than before by this many ticks was taken away and came back: it counts anew.
const JUMP_BACK: u64 = 300;
/// The most CPUs that are reported, 8 series each.
const MOST_CPUS: usize = 512;

/// The columns of `/proc/stat`.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;

/// What is remembered of the CPUs between looks.
#[derive(Default)]
pub struct Cpus {
    seen: Vec<Cpu>,
}

struct Cpu {
    name: String,
    ticks: [u64; MODES.len()],
}

impl Cpus {
    /// Waiting and idle times may be shown to go back a little: a counter must not.
    fn read(&mut self, stat: &str, report: &mut Report) {
        let lines = stat.lines().filter_map(|line| line.strip_prefix("cpu"));
        let lines = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        let mut count = 0;
        for line in lines {
            if count < MOST_CPUS {
                self.read_one(count, line, report);
            }
            count += 1;
        }
        self.seen.truncate(count);
        super::left_out(report, "cpus", count.saturating_sub(MOST_CPUS));
    }

    fn read_one(&mut self, index: usize, line: &str, report: &mut Report) {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let mut ticks = [0; MODES.len()];
        for (tick, word) in ticks.iter_mut().zip(words) {
            *tick = word.parse().unwrap_or(0);
        }
        match self.seen.get_mut(index) {
            Some(known) if known.name == name => known.advance(&ticks),
            known => {
                let cpu = Cpu { name: name.to_owned(), ticks };
                match known {
                    Some(known) => *known = cpu,
                    None => self.seen.push(cpu),
                }
            }
        }
        let Some(cpu) = self.seen.get(index) else { return };
        for (mode, ticks) in MODES.iter().zip(cpu.ticks) {
            let labels = vec![("cpu", cpu.name.clone()), ("mode", (*mode).to_owned())];
            report.read_with(&m::CPU_SECONDS, labels, ticks as f64 / TICKS_PER_SECOND);
        }
    }
}

impl Cpu {
    fn advance(&mut self, ticks: &[u64; MODES.len()]) {
        if ticks[IDLE] + JUMP_BACK < self.ticks[IDLE] {
            self.ticks = *ticks;
        }
        for (known, new) in self.ticks.iter_mut().zip(ticks) {
            *known = (*known).max(*new);
        }
    }
}

/// What each CPU did, and when the machine was started, from the text of `/proc/stat`.
pub fn times(stat: &str, cpus: &mut Cpus, report: &mut Report) {
    cpus.read(stat, report);
    if let Some(at) = keyed(stat, "btime") {
        report.read(&m::BOOT_TIME, at);
    }
}

pub fn load(files: &mut Files, proc: &Path, report: &mut Report) {
    let Some(text) = files.text(proc, "loadavg") else { return };
    for (metric, word) in [&m::LOAD1, &m::LOAD5, &m::LOAD15].into_iter().zip(text.split(' ')) {
        if let Some(load) = number(word) {
            report.read(metric, load);
        }
    }
}

pub fn memory(files: &mut Files, proc: &Path, report: &mut Report) {
    const FIELDS: [(&str, &Metric); 7] = [
        ("MemTotal", &m::MEM_TOTAL),
        ("MemAvailable", &m::MEM_AVAILABLE),
        ("MemFree", &m::MEM_FREE),
        ("Buffers", &m::BUFFERS),
        ("Cached", &m::CACHED),
        ("SwapTotal", &m::SWAP_TOTAL),
        ("SwapFree", &m::SWAP_FREE),
    ];
    let Some(text) = files.text(proc, "meminfo") else { return };
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let Some((_, metric)) = FIELDS.iter().find(|(field, _)| *field == name) else { continue };
        if let Some(kib) = number(rest.trim_end_matches("kB")) {
            report.read(metric, kib * 1024.0);
        }
    }
}

pub fn oom_kills(files: &mut Files, proc: &Path, report: &mut Report) {
    if let Some(kills) = files.text(proc, "vmstat").and_then(|text| keyed(&text, "oom_kill")) {
        report.read(&m::OOM_KILL, kills);
    }
}

pub fn file_handles(files: &mut Files, proc: &Path, report: &mut Report) {
    let Some(text) = files.text(proc, "sys/fs/file-nr") else { return };
    let mut words = text.split_ascii_whitespace().map(number);
    if let (Some(Some(allocated)), Some(_), Some(Some(maximum))) = (words.next(), words.next(), words.next()) {
        report.read(&m::FILEFD_ALLOCATED, allocated);
        report.read(&m::FILEFD_MAXIMUM, maximum);
    }
}

pub fn connections(files: &mut Files, proc: &Path, report: &mut Report) {
    let names = [
        ("sys/net/netfilter/nf_conntrack_count", &m::CONNTRACK_ENTRIES),
        ("sys/net/netfilter/nf_conntrack_max", &m::CONNTRACK_LIMIT),
    ];
    for (name, metric) in names {
        if let Some(number) = files.number(proc, name) {
            report.read(metric, number);
        }
    }
}

/// What the system is called. `/proc/sys/kernel` says the same, but the machine's architecture only since Linux 6.1.
pub fn names(report: &mut Report) {
    let uname = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let labels = vec![
        ("domainname", word(uname.domainname())),
        ("machine", word(uname.machine())),
        ("nodename", word(uname.nodename())),
        ("release", word(uname.release())),
        ("sysname", word(uname.sysname())),
        ("version", word(uname.version())),
    ];
    report.read_with(&m::UNAME, labels, 1.0);
    report.read(&m::TIME, clock::wall_ms() as f64 / 1000.0);
}
