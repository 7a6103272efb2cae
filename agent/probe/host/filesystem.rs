//! Filesystems: which ones are mounted, and how full they are.
//!
//! Nothing is asked of what another machine or another process serves (NFS, CIFS, FUSE…), nor of what is mounted
//! below it: a server that is gone would hold the question, and with it the agent's one thread, for ever.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfs, major, minor, stat, statvfs};

use super::files::Files;
use super::filter::Filter;
use super::{left_out, metrics as m};
use crate::probe::Report;
use crate::sample::Metric;

/// The most filesystems that are reported.
const MOST: usize = 100;

/// Types whose answers come from elsewhere. `fuse` stands for every `fuse.…` too.
const REMOTE: &[&str] = &[
    "9p",
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// What is mounted, as of the last look: read again when the kernel's table differs.
#[derive(Default)]
pub struct Mounts {
    table: Vec<u8>,
    watched: Vec<Mount>,
    /// The devices of everything that is mounted.
    devices: HashSet<(u32, u32)>,
    beyond: usize,
}

struct Mount {
    /// Where it is for us.
    path: PathBuf,
    /// Where it is on the host.
    point: String,
    device: String,
    fstype: String,
    number: (u32, u32),
    read_only: bool,
}

/// What is left out by pattern.
pub struct Excluded<'a> {
    pub points: &'a mut Filter,
    pub types: &'a mut Filter,
}

impl Mounts {
    pub fn read(&mut self, files: &mut Files, proc: &Path, root: &Path, excluded: &mut Excluded, report: &mut Report) {
        if let Ok(table) = table(files, proc)
            && table != self.table
        {
            self.table.clear();
            self.table.extend_from_slice(table);
            self.choose(root, excluded);
        }
        for mount in &self.watched {
            match self.ask(mount) {
                Ok(seen) => mount.read(&seen, report),
                Err(why) => {
                    mount.one(report, &m::FILESYSTEM_ERROR, 1.0);
                    report.warnings.push(format!("{}: {why}", mount.point));
                }
            }
        }
        left_out(report, "filesystems", self.beyond);
    }

    fn choose(&mut self, root: &Path, excluded: &mut Excluded) {
        let text = String::from_utf8_lossy(&self.table);
        let all: Vec<Mount> = text.lines().filter_map(|line| mount(line, root)).collect();
        self.devices = all.iter().map(|mount| mount.number).collect();
        let remote: Vec<PathBuf> =
            all.iter().filter(|mount| is_remote(&mount.fstype)).map(|mount| mount.path.clone()).collect();
        // Of several at one point the last lies on top, and hides the others.
        let top: HashMap<String, usize> =
            all.iter().enumerate().map(|(index, mount)| (mount.point.clone(), index)).collect();
        let mut watched: Vec<Mount> = all
            .into_iter()
            .enumerate()
            .filter(|(index, mount)| top.get(&mount.point) == Some(index))
            .map(|(_, mount)| mount)
            // Asking one would have it mount something.
            .filter(|mount| mount.fstype != "autofs")
            .filter(|mount| !excluded.points.excludes(&mount.point) && !excluded.types.excludes(&mount.fstype))
            .filter(|mount| !remote.iter().any(|remote| mount.path.starts_with(remote)))
            .collect();
        self.beyond = watched.len().saturating_sub(MOST);
        watched.truncate(MOST);
        self.watched = watched;
    }

    /// Where the mount is not there for us, its path leads to another filesystem, whose figures are not its own.
    fn ask(&self, mount: &Mount) -> Result<StatVfs, Cow<'static, str>> {
        let error = |error: rustix::io::Errno| Cow::from(io::Error::from(error).to_string());
        let found = stat(&mount.path).map_err(error)?.st_dev;
        let found = (major(found), minor(found));
        // Some filesystems number their parts by themselves: those numbers are in no table.
        if found != mount.number && self.devices.contains(&found) {
            return Err(
                "it is not mounted where `root` leads: mount the host's / with propagation HostToContainer".into()
            );
        }
        statvfs(&mount.path).map_err(error)
    }
}

/// As the first process sees it, which is the host's; else as we do.
fn table<'a>(files: &'a mut Files, proc: &Path) -> io::Result<&'a [u8]> {
    files.either(proc, ["1/mountinfo", "self/mountinfo"])
}

/// A line of `mountinfo` (proc_pid_mountinfo(5)).
fn mount(line: &str, root: &Path) -> Option<Mount> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(2);
    let (number, _, point, options) = (place.next()?, place.next()?, place.next()?, place.next()?);
    let mut what = what.split(' ');
    let (fstype, device, more) = (what.next()?, what.next()?, what.next().unwrap_or_default());
    let (major, minor) = number.split_once(':')?;
    let point = on_host(&unescaped(point), root);
    Some(Mount {
        path: root.join(point.trim_start_matches('/')),
        point,
        device: unescaped(device),
        fstype: fstype.to_owned(),
        number: (major.parse().ok()?, minor.parse().ok()?),
        read_only: [options, more].iter().any(|options| options.split(',').any(|option| option == "ro")),
    })
}

/// Without the folder that the host's `/` is mounted on, where we read our own table.
fn on_host(point: &str, root: &Path) -> String {
    match Path::new(point).strip_prefix(root) {
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => point.to_owned(),
    }
}

/// Spaces and the like stand as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => plain.push(char::from(code)),
            None => plain.push('\\'),
        }
        plain.push_str(if code.is_some() { &part[3..] } else { part });
    }
    plain
}

fn is_remote(fstype: &str) -> bool {
    REMOTE.contains(&fstype) || fstype.starts_with("fuse.")
}

impl Mount {
    fn read(&self, seen: &StatVfs, report: &mut Report) {
        let bytes = |blocks: u64| blocks as f64 * seen.f_frsize as f64;
        self.one(report, &m::FILESYSTEM_SIZE, bytes(seen.f_blocks));
        self.one(report, &m::FILESYSTEM_FREE, bytes(seen.f_bfree));
        self.one(report, &m::FILESYSTEM_AVAIL, bytes(seen.f_bavail));
        self.one(report, &m::FILESYSTEM_FILES, seen.f_files as f64);
        self.one(report, &m::FILESYSTEM_FILES_FREE, seen.f_ffree as f64);
        self.one(report, &m::FILESYSTEM_READONLY, f64::from(self.read_only));
        self.one(report, &m::FILESYSTEM_ERROR, 0.0);
    }

    fn one(&self, report: &mut Report, metric: &'static Metric, value: f64) {
        let labels =
            vec![("device", self.device.clone()), ("fstype", self.fstype.clone()), ("mountpoint", self.point.clone())];
        report.read_with(metric, labels, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read_with_its_escapes() {
        let line = r"36 35 8:1 / /mnt/a\040b\134c rw,noatime shared:1 - ext4 /dev/disk\040one ro,errors=continue";
        let mount = mount(line, Path::new("/host")).unwrap();
        assert_eq!((mount.point.as_str(), mount.device.as_str()), (r"/mnt/a b\c", "/dev/disk one"));
        assert_eq!(mount.path, Path::new(r"/host/mnt/a b\c"));
        assert_eq!((mount.number, mount.fstype.as_str(), mount.read_only), ((8, 1), "ext4", true));
    }

    #[test]
    fn lines_of_nonsense_are_no_mounts() {
        for line in ["", " - ", "36 35 8:1 / /x", "36 35 8 / /x rw - ext4 d", "a - b c", "36 35 x:y / /x rw - ext4 d o"]
        {
            assert!(mount(line, Path::new("/")).is_none(), "{line:?}");
        }
    }

    #[test]
    fn points_lose_the_folder_that_the_host_s_root_is_on() {
        assert_eq!(on_host("/host/var", Path::new("/host")), "/var");
        assert_eq!(on_host("/host", Path::new("/host")), "/");
        assert_eq!(on_host("/hostile", Path::new("/host")), "/hostile");
        assert_eq!(on_host("/var", Path::new("/")), "/var");
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped(r"a\b\9xx\04"), r"a\b\9xx\04");
        assert_eq!(unescaped(r"\011"), "\t");
    }
}
