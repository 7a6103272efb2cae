//! Disks and network interfaces.

use std::path::Path;

use super::files::{Files, number};
use super::filter::Filter;
use super::{left_out, metrics as m};
use crate::probe::Report;
use crate::sample::Metric;

/// The most that are reported of each.
const MOST: usize = 100;
/// What a sector is in `/proc/diskstats`, whatever it is on the device.
const SECTOR: f64 = 512.0;
const MILLISECOND: f64 = 0.001;

/// The columns of `/proc/diskstats` that are reported, counted behind the name, and what one of each is.
static DISK_COLUMNS: [(usize, &Metric, f64); 9] = [
    (0, &m::DISK_READS, 1.0),
    (2, &m::DISK_READ_BYTES, SECTOR),
    (3, &m::DISK_READ_SECONDS, MILLISECOND),
    (4, &m::DISK_WRITES, 1.0),
    (6, &m::DISK_WRITTEN_BYTES, SECTOR),
    (7, &m::DISK_WRITE_SECONDS, MILLISECOND),
    (8, &m::DISK_IO_NOW, 1.0),
    (9, &m::DISK_IO_SECONDS, MILLISECOND),
    (10, &m::DISK_IO_WEIGHTED, MILLISECOND),
];

/// The columns of `/proc/net/dev` that are reported, counted behind the name.
static NETWORK_COLUMNS: [(usize, &Metric, f64); 6] = [
    (0, &m::NETWORK_RECEIVE_BYTES, 1.0),
    (2, &m::NETWORK_RECEIVE_ERRS, 1.0),
    (3, &m::NETWORK_RECEIVE_DROP, 1.0),
    (8, &m::NETWORK_TRANSMIT_BYTES, 1.0),
    (10, &m::NETWORK_TRANSMIT_ERRS, 1.0),
    (11, &m::NETWORK_TRANSMIT_DROP, 1.0),
];

pub fn disks(files: &mut Files, proc: &Path, exclude: &mut Filter, report: &mut Report) {
    let Some(text) = files.text(proc, "diskstats") else { return };
    // Two numbers, the name, the columns.
    let devices = text.lines().filter_map(|line| {
        let rest = after_word(after_word(line)?)?.trim_start();
        rest.split_once(' ')
    });
    each_device(devices, "disks", &DISK_COLUMNS, exclude, report);
}

/// Of the network that the first process is in: below `/proc/net` is always the reader's own.
pub fn networks(files: &mut Files, proc: &Path, exclude: &mut Filter, report: &mut Report) {
    let Ok(text) = files.either(proc, ["1/net/dev", "net/dev"]) else { return };
    let text = String::from_utf8_lossy(text);
    let devices = text.lines().filter_map(|line| line.rsplit_once(':').map(|(name, rest)| (name.trim(), rest)));
    each_device(devices, "networks", &NETWORK_COLUMNS, exclude, report);
}

fn after_word(line: &str) -> Option<&str> {
    line.trim_start().split_once(' ').map(|(_, rest)| rest)
}

fn each_device<'a>(
    devices: impl Iterator<Item = (&'a str, &'a str)>,
    what: &'static str,
    columns: &[(usize, &'static Metric, f64)],
    exclude: &mut Filter,
    report: &mut Report,
) {
    let mut count = 0;
    for (device, rest) in devices.filter(|(device, _)| !exclude.excludes(device)) {
        count += 1;
        if count > MOST {
            continue;
        }
        let mut words = rest.split_ascii_whitespace().enumerate();
        for (column, metric, unit) in columns {
            let word = words.by_ref().find(|(index, _)| index == column);
            if let Some(value) = word.and_then(|(_, word)| number(word)) {
                report.read_with(metric, vec![("device", device.to_owned())], value * unit);
            }
        }
    }
    left_out(report, what, count.saturating_sub(MOST));
}
