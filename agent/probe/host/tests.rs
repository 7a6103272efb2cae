use std::fs;

use super::*;
use crate::net::NetSettings;
use crate::probe::Blame;

/// A machine made of files: `proc`, `sys` and `root` in a folder of the test's own.
struct Machine {
    folder: tempfile::TempDir,
}

const STAT: &str = "cpu  30 2 14 190 4 0 1 0 0 0\n\
                    cpu0 10 1 4 90 2 0 1 0 0 0\n\
                    cpu1 20 1 10 100 2 0 0 0 5 0\n\
                    intr 1 0 0\nctxt 99\nbtime 1700000000\nprocesses 5\n";

impl Machine {
    fn new() -> Self {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        machine.write("proc/stat", STAT);
        machine
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn settings(&self) -> Settings {
        let (proc, root) = (self.folder.path().join("proc"), self.folder.path().join("root"));
        Settings { proc, root, ..Settings::default() }
    }

    fn prober(&self) -> Prober {
        Prober::new(self.settings(), Arc::new(Net::new(NetSettings::default())))
    }

    async fn look(&self) -> Report {
        self.prober().look(Path::Fresh).await
    }
}

/// `name{label="value"} 1`, of the metrics whose names start so.
fn readings(report: &Report, starts: &str) -> Vec<String> {
    let of = report.readings.iter().filter(|reading| reading.metric.name.starts_with(starts));
    of.map(|reading| {
        let labels: Vec<String> = reading.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        format!("{}{braces} {}", reading.metric.name, reading.value)
    })
    .collect()
}

#[tokio::test]
async fn a_machine_is_read_from_its_files() {
    let machine = Machine::new();
    machine.write("proc/loadavg", "0.25 1.5 0.65 1/94 28445\n");
    machine.write(
        "proc/meminfo",
        "MemTotal:       1000 kB\nMemFree:         200 kB\nMemAvailable:    700 kB\nBuffers:          10 kB\n\
         Cached:          300 kB\nSwapCached:        1 kB\nSwapTotal:       400 kB\nSwapFree:        399 kB\n\
         HugePages_Total:       0\n",
    );
    machine.write("proc/vmstat", "nr_free_pages 1\noom_kill 3\n");
    machine.write("proc/sys/fs/file-nr", "610\t0\t9223372036854775807\n");
    machine.write("proc/sys/net/netfilter/nf_conntrack_count", "12\n");
    machine.write("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    let report = machine.look().await;
    assert_eq!(report.failure, None);
    let mut seen = readings(&report, "node_");
    seen.retain(|line| !line.starts_with("node_uname") && !line.starts_with("node_time"));
    let cpu = |cpu: u8, ticks: [&str; 8]| {
        let modes = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
        let line = |(mode, seconds)| format!("node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}} {seconds}");
        modes.into_iter().zip(ticks).map(line).collect::<Vec<_>>()
    };
    let mut wanted = cpu(0, ["0.1", "0.01", "0.04", "0.9", "0.02", "0", "0.01", "0"]);
    wanted.extend(cpu(1, ["0.2", "0.01", "0.1", "1", "0.02", "0", "0", "0"]));
    wanted.extend(
        [
            "node_boot_time_seconds 1700000000",
            "node_load1 0.25",
            "node_load5 1.5",
            "node_load15 0.65",
            "node_memory_MemTotal_bytes 1024000",
            "node_memory_MemFree_bytes 204800",
            "node_memory_MemAvailable_bytes 716800",
            "node_memory_Buffers_bytes 10240",
            "node_memory_Cached_bytes 307200",
            "node_memory_SwapTotal_bytes 409600",
            "node_memory_SwapFree_bytes 408576",
            "node_vmstat_oom_kill 3",
            "node_filefd_allocated 610",
            "node_filefd_maximum 9223372036854776000",
            "node_nf_conntrack_entries 12",
            "node_nf_conntrack_entries_limit 262144",
        ]
        .map(str::to_owned),
    );
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn what_a_machine_does_not_show_is_left_out() {
    let report = Machine::new().look().await;
    assert_eq!((report.failure, report.warnings), (None, Vec::<String>::new()));
    let mut names: Vec<&str> = report.readings.iter().map(|reading| reading.metric.name).collect();
    names.dedup();
    assert_eq!(names, ["node_cpu_seconds_total", "node_boot_time_seconds", "node_uname_info", "node_time_seconds"]);
}

#[tokio::test]
async fn a_proc_that_cannot_be_read_is_the_agent_s_own_fault_and_named() {
    let machine = Machine::new();
    fs::remove_file(machine.folder.path().join("proc/stat")).unwrap();
    let failure = machine.look().await.failure.unwrap();
    assert_eq!((failure.reason, failure.reason.blame()), (Reason::Unreadable, Blame::Agent));
    let words = failure.to_string();
    assert!(words.contains("/proc/stat: ") && words.contains("`proc` must name the host's /proc"), "{words}");
}

#[tokio::test]
async fn a_cpu_s_counters_never_go_back_unless_it_was_taken_away() {
    let machine = Machine::new();
    let mut prober = machine.prober();
    let mut waited = async |line: &str| {
        machine.write("proc/stat", line);
        let report = prober.look(Path::Fresh).await;
        let of = |mode: &str| {
            let labels = [("cpu", "0".to_owned()), ("mode", mode.to_owned())];
            report.readings.iter().find(|reading| reading.labels == labels).unwrap().value
        };
        (of("idle"), of("iowait"))
    };
    assert_eq!(waited("cpu0 0 0 0 1000 500 0 0 0\n").await, (10.0, 5.0));
    assert_eq!(waited("cpu0 0 0 0 1001 490 0 0 0\n").await, (10.01, 5.0), "waiting times may shrink a little");
    assert_eq!(waited("cpu0 0 0 0 900 501 0 0 0\n").await, (10.01, 5.01));
    assert_eq!(waited("cpu0 0 0 0 5 1 0 0 0\n").await, (0.05, 0.01), "it came back and counts anew");
    assert_eq!(waited("cpu0 0 0 0 6 2 0 0 0\n").await, (0.06, 0.02));
}

#[tokio::test]
async fn another_cpu_in_the_place_of_one_that_went_has_its_own_counters() {
    let machine = Machine::new();
    let mut prober = machine.prober();
    machine.write("proc/stat", "cpu0 5 0 0 9 0 0 0 0\ncpu1 7 0 0 9 0 0 0 0\n");
    prober.look(Path::Fresh).await;
    machine.write("proc/stat", "cpu1 6 0 0 9 0 0 0 0\n");
    let report = prober.look(Path::Fresh).await;
    let lines = readings(&report, "node_cpu");
    assert_eq!((lines.len(), lines[0].as_str()), (8, "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 0.06"));
}

#[tokio::test]
async fn disks_are_read_without_their_partitions() {
    let machine = Machine::new();
    machine.write(
        "proc/diskstats",
        "   7       0 loop0 1 0 2 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n\
         \x20  8       0 sda 10 58 20 2500 30 43 40 1500 2 17886 36283 31 63 24 39152 58 33\n\
         \x20  8       1 sda1 10 58 20 2500 30 43 40 1500 2 17886 36283\n\
         \x20259       1 nvme0n1p1 1 1 1 1 1 1 1 1 1 1 1\n\
         short line\n",
    );
    let wanted = [
        "node_disk_reads_completed_total{device=\"sda\"} 10",
        "node_disk_read_bytes_total{device=\"sda\"} 10240",
        "node_disk_read_time_seconds_total{device=\"sda\"} 2.5",
        "node_disk_writes_completed_total{device=\"sda\"} 30",
        "node_disk_written_bytes_total{device=\"sda\"} 20480",
        "node_disk_write_time_seconds_total{device=\"sda\"} 1.5",
        "node_disk_io_now{device=\"sda\"} 2",
        "node_disk_io_time_seconds_total{device=\"sda\"} 17.886",
        "node_disk_io_time_weighted_seconds_total{device=\"sda\"} 36.283",
    ];
    assert_eq!(readings(&machine.look().await, "node_disk"), wanted);
}

const INTERFACES: &str = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs …\n";

#[tokio::test]
async fn the_network_is_the_first_process_s_else_our_own() {
    let machine = Machine::new();
    machine.write("proc/net/dev", &format!("{INTERFACES}  own: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"));
    let wanted = [
        "node_network_receive_bytes_total{device=\"own\"} 1",
        "node_network_receive_errs_total{device=\"own\"} 3",
        "node_network_receive_drop_total{device=\"own\"} 4",
        "node_network_transmit_bytes_total{device=\"own\"} 9",
        "node_network_transmit_errs_total{device=\"own\"} 11",
        "node_network_transmit_drop_total{device=\"own\"} 12",
    ];
    assert_eq!(readings(&machine.look().await, "node_network"), wanted);
    let host = format!("{INTERFACES}  eth0:5 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nveth12: 1 2 3\n");
    machine.write("proc/1/net/dev", &host);
    let seen = readings(&machine.look().await, "node_network");
    assert_eq!((seen.len(), seen[0].as_str()), (6, "node_network_receive_bytes_total{device=\"eth0\"} 5"));
}

/// Where a mount point of the fake machine really is, made as a folder.
fn mounted(machine: &Machine, lines: &str) {
    for line in lines.lines() {
        let point = line.split(' ').nth(4).unwrap();
        fs::create_dir_all(machine.folder.path().join("root").join(point.trim_start_matches('/'))).unwrap();
    }
    machine.write("proc/1/mountinfo", lines);
}

fn points(report: &Report) -> Vec<String> {
    let label =
        |reading: &crate::probe::Reading| reading.labels.iter().find(|(name, _)| *name == "mountpoint").cloned();
    let of = report.readings.iter().filter(|reading| reading.metric.name == "node_filesystem_device_error");
    of.map(|reading| format!("{} {}", label(reading).unwrap().1, reading.value)).collect()
}

#[tokio::test]
async fn filesystems_are_those_of_node_exporter_each_point_once() {
    let machine = Machine::new();
    let lines = "1 0 9:1 / / rw - ext4 /dev/sda ro\n\
                 2 1 9:2 / /proc rw - proc proc rw\n\
                 3 1 9:3 / /run rw - tmpfs tmpfs rw\n\
                 4 1 9:4 / /run/credentials/x.service ro - ramfs none rw\n\
                 5 1 9:5 / /var/lib/docker/overlay2/a rw - ext4 /dev/sda rw\n\
                 6 1 9:6 / /merged rw - overlay overlay rw\n\
                 7 1 9:7 / /data ro - ext4 /dev/hidden rw\n\
                 8 1 9:8 / /data rw - xfs /dev/sdb rw\n\
                 9 1 9:9 /sub /data2 rw - xfs /dev/sdb rw\n\
                 10 1 9:10 / /var/lib/kubelet/pods/1/volumes/x rw - tmpfs tmpfs rw\n";
    mounted(&machine, lines);
    let report = machine.look().await;
    assert_eq!(points(&report), ["/ 0", "/run 0", "/data 0", "/data2 0"]);
    let read_only = readings(&report, "node_filesystem_readonly");
    let wanted = [
        "node_filesystem_readonly{device=\"/dev/sda\",fstype=\"ext4\",mountpoint=\"/\"} 1",
        "node_filesystem_readonly{device=\"tmpfs\",fstype=\"tmpfs\",mountpoint=\"/run\"} 0",
        "node_filesystem_readonly{device=\"/dev/sdb\",fstype=\"xfs\",mountpoint=\"/data\"} 0",
        "node_filesystem_readonly{device=\"/dev/sdb\",fstype=\"xfs\",mountpoint=\"/data2\"} 0",
    ];
    assert_eq!(read_only, wanted, "of two at one point the upper one is seen");
    assert_eq!(readings(&report, "node_filesystem").len(), 4 * 7);
}

/// A server that is gone would hold the question for ever.
#[tokio::test]
async fn nothing_is_asked_of_network_filesystems_or_of_what_lies_below_them() {
    let machine = Machine::new();
    let lines = "1 0 9:1 / /share rw - nfs4 server:/x rw\n\
                 2 1 9:2 / /share/disk rw - ext4 /dev/sdc rw\n\
                 3 1 9:3 / /shared rw - ext4 /dev/sdd rw\n\
                 4 1 9:4 / /far rw - fuse.sshfs me@far: rw\n\
                 5 1 9:5 / /win rw - cifs //win/x rw\n\
                 6 1 9:6 / /auto rw - autofs systemd-1 rw\n\
                 7 1 9:7 / /lazy rw - autofs systemd-1 rw\n\
                 8 7 9:8 / /lazy rw - ext4 /dev/sde rw\n";
    mounted(&machine, lines);
    let settings =
        Settings { fs_types_exclude: String::new(), mount_points_exclude: String::new(), ..machine.settings() };
    let mut prober = Prober::new(settings, Arc::new(Net::new(NetSettings::default())));
    assert_eq!(points(&prober.look(Path::Fresh).await), ["/shared 0", "/lazy 0"], "no setting brings them back");
}

#[tokio::test]
async fn a_filesystem_that_cannot_be_asked_says_so_and_the_others_are_seen() {
    let machine = Machine::new();
    mounted(&machine, "1 0 9:1 / /here rw - ext4 /dev/sda rw\n2 0 9:2 / /gone rw - ext4 /dev/sdb rw\n");
    fs::remove_dir(machine.folder.path().join("root/gone")).unwrap();
    let report = machine.look().await;
    assert_eq!((points(&report), report.failure), (vec!["/here 0".to_owned(), "/gone 1".to_owned()], None));
    assert!(report.warnings[0].starts_with("/gone: No such file"), "{:?}", report.warnings);
}

/// As with `hostPath: /` that is mounted without propagation: the path leads to what lies below.
#[tokio::test]
async fn a_filesystem_that_is_not_mounted_for_us_is_not_taken_for_the_one_below() {
    let machine = Machine::new();
    let own = rustix::fs::stat(machine.folder.path()).unwrap().st_dev;
    let own = format!("{}:{}", rustix::fs::major(own), rustix::fs::minor(own));
    mounted(&machine, &format!("1 0 {own} / / rw - ext4 /dev/sda rw\n2 1 9:9 / /data rw - ext4 /dev/sdb rw\n"));
    let report = machine.look().await;
    assert_eq!(points(&report), ["/ 0", "/data 1"]);
    assert!(report.warnings[0].contains("HostToContainer"), "{:?}", report.warnings);
}

#[tokio::test]
async fn what_is_mounted_later_is_seen_at_the_next_look() {
    let machine = Machine::new();
    let mut prober = machine.prober();
    mounted(&machine, "1 0 9:1 / /a rw - ext4 /dev/sda rw\n");
    assert_eq!(points(&prober.look(Path::Fresh).await), ["/a 0"]);
    mounted(&machine, "1 0 9:1 / /a rw - ext4 /dev/sda rw\n2 0 9:2 / /b rw - ext4 /dev/sdb rw\n");
    assert_eq!(points(&prober.look(Path::Fresh).await), ["/a 0", "/b 0"]);
    mounted(&machine, "2 0 9:2 / /b rw - ext4 /dev/sdb rw\n");
    assert_eq!(points(&prober.look(Path::Fresh).await), ["/b 0"]);
}

#[tokio::test]
async fn a_machine_of_a_thousand_of_everything_is_bounded_and_says_so() {
    let machine = Machine::new();
    let lines = |line: fn(u32) -> String| (0..1_000).map(line).collect::<String>();
    machine.write("proc/stat", &lines(|n| format!("cpu{n} 1 1 1 1 1 1 1 1\n")));
    machine.write("proc/diskstats", &lines(|n| format!("8 {n} disk-{n} 1 1 1 1 1 1 1 1 1 1 1\n")));
    machine.write("proc/net/dev", &lines(|n| format!("eth{n}: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n")));
    machine.write("proc/1/mountinfo", &lines(|n| format!("{n} 0 9:{n} / /m{n} rw - ext4 /dev/sda{n} rw\n")));
    let report = machine.look().await;
    let wanted = [
        "watchkeeper_host_left_out{what=\"cpus\"} 488",
        "watchkeeper_host_left_out{what=\"disks\"} 900",
        "watchkeeper_host_left_out{what=\"networks\"} 900",
        "watchkeeper_host_left_out{what=\"filesystems\"} 900",
    ];
    assert_eq!(readings(&report, "watchkeeper"), wanted);
    assert_eq!(readings(&report, "node_cpu").len(), 512 * 8);
    assert!(report.readings.len() < 8_000, "{} fit one report", report.readings.len());
}

#[tokio::test]
async fn nonsense_in_every_file_is_no_reading_and_no_failure() {
    let machine = Machine::new();
    let mut random = fastrand::Rng::with_seed(1);
    let files =
        ["loadavg", "meminfo", "vmstat", "sys/fs/file-nr", "diskstats", "net/dev", "1/mountinfo", "self/cgroup"];
    for _ in 0..200 {
        for name in files.iter().chain(&["stat", "self/mountinfo"]) {
            let bytes: Vec<u8> =
                (0..random.usize(..200)).map(|_| *random.choice(b"cpu0 -:/\n\t\\.9\xff").unwrap()).collect();
            let path = machine.folder.path().join("proc").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(machine.look().await.failure, None);
    }
}

/// Group and mounts as a container sees them; the files below the mount are in the machine's folder.
fn grouped(machine: &Machine, said: &str, fstype: &str, options: &str) {
    let point = machine.folder.path().join("cgroup");
    machine.write("proc/self/cgroup", said);
    let line = format!("30 1 0:1 / {} rw - {fstype} cgroup {options}\n", point.display());
    machine.write("proc/self/mountinfo", &line);
}

fn write_group(machine: &Machine, group: &str, files: &[(&str, &str)]) {
    for (name, text) in files {
        machine.write(&format!("cgroup{group}/{name}"), text);
    }
}

#[tokio::test]
async fn our_own_group_is_read_with_its_limits() {
    let machine = Machine::new();
    grouped(&machine, "0::/watch.service\n", "cgroup2", "rw");
    let files = [
        ("cgroup.type", "domain\n"),
        ("memory.current", "1000000\n"),
        ("memory.max", "4000000\n"),
        ("memory.stat", "anon 5\ninactive_anon 3\ninactive_file 300000\n"),
        ("memory.events", "low 0\noom 4\noom_kill 2\noom_group_kill 0\n"),
        ("cpu.stat", "usage_usec 2500000\nuser_usec 1\nnr_periods 40\nnr_throttled 10\nthrottled_usec 1500000\n"),
        ("cpu.max", "50000 100000\n"),
    ];
    write_group(&machine, "/watch.service", &files);
    let wanted = [
        "container_memory_usage_bytes 1000000",
        "container_memory_working_set_bytes 700000",
        "container_spec_memory_limit_bytes 4000000",
        "container_oom_events_total 2",
        "container_cpu_usage_seconds_total{cpu=\"total\"} 2.5",
        "container_cpu_cfs_periods_total 40",
        "container_cpu_cfs_throttled_periods_total 10",
        "container_cpu_cfs_throttled_seconds_total 1.5",
        "container_spec_cpu_quota 50000",
        "container_spec_cpu_period 100000",
    ];
    assert_eq!(readings(&machine.look().await, "container_"), wanted);
}

#[tokio::test]
async fn a_limit_that_is_not_set_is_absent() {
    let machine = Machine::new();
    grouped(&machine, "0::/\n", "cgroup2", "rw");
    let files = [("cgroup.type", ""), ("memory.current", "5"), ("memory.max", "max\n"), ("cpu.max", "max 100000\n")];
    write_group(&machine, "", &files);
    assert_eq!(readings(&machine.look().await, "container_"), ["container_memory_usage_bytes 5"]);
}

/// Its figures are the machine's, which stand under other names.
#[tokio::test]
async fn the_group_at_the_top_is_not_ours() {
    let machine = Machine::new();
    grouped(&machine, "0::/\n", "cgroup2", "rw");
    write_group(&machine, "", &[("cpu.stat", "usage_usec 2500000\n"), ("cgroup.controllers", "cpu memory\n")]);
    assert!(readings(&machine.look().await, "container_").is_empty());
}

#[tokio::test]
async fn a_group_of_version_1_is_read_too() {
    let machine = Machine::new();
    grouped(&machine, "3:cpu,cpuacct,memory:/job\n", "cgroup", "rw,cpu,cpuacct,memory");
    let files = [
        ("memory.usage_in_bytes", "1000000\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.stat", "inactive_file 1\ntotal_inactive_file 1200000\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
        ("cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 500000000\n"),
        ("cpu.cfs_quota_us", "-1\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("cpuacct.usage", "3000000000\n"),
    ];
    write_group(&machine, "/job", &files);
    let wanted = [
        "container_memory_usage_bytes 1000000",
        "container_memory_working_set_bytes 0",
        "container_oom_events_total 7",
        "container_cpu_cfs_periods_total 4",
        "container_cpu_cfs_throttled_periods_total 1",
        "container_cpu_cfs_throttled_seconds_total 0.5",
        "container_cpu_usage_seconds_total{cpu=\"total\"} 3",
    ];
    assert_eq!(readings(&machine.look().await, "container_"), wanted);
}

#[tokio::test]
async fn a_move_to_another_group_is_followed() {
    let machine = Machine::new();
    let mut prober = machine.prober();
    for (group, usage) in [("/a", "1"), ("/b", "2")] {
        grouped(&machine, &format!("0::{group}\n"), "cgroup2", "rw");
        write_group(&machine, group, &[("cgroup.type", ""), ("memory.current", usage)]);
        let seen = readings(&prober.look(Path::Fresh).await, "container_");
        assert_eq!(seen, [format!("container_memory_usage_bytes {usage}")]);
    }
}

#[test]
fn wrong_settings_are_named_by_their_key() {
    let settings: Settings = serde_saphyr::from_str("{proc: host/proc, root: '', disks_exclude: '('}").unwrap();
    let keys: Vec<_> = settings.check().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["proc", "root", "disks_exclude"]);
    assert!(Settings::default().check().is_empty());
    assert!(serde_saphyr::from_str::<Settings>("{filesystems: all}").is_err());
}

#[test]
fn node_exporter_s_own_patterns_mean_the_same_here() {
    let mut points = Filter::new("^/(dev|proc)($|/)").unwrap();
    assert!(points.excludes("/dev/shm") && points.excludes("/dev") && !points.excludes("/devices"));
    assert!(!Filter::new("").unwrap().excludes("anything"), "an empty pattern leaves out nothing");
    let mut partitions = Filter::new(&Settings::default().disks_exclude).unwrap();
    for name in ["sda1", "nvme0n1p2", "loop7", "zram0", "mmcblk0p1", "xvda1"] {
        assert!(partitions.excludes(name), "{name}");
    }
    for name in ["sda", "nvme0n1", "mmcblk0", "dm-0", "md127", "vda"] {
        assert!(!partitions.excludes(name), "{name}");
    }
}

#[test]
fn the_real_machine_is_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        Prober::new(Settings::default(), Arc::new(Net::new(NetSettings::default()))).look(Path::Fresh).await
    });
    assert_eq!(report.failure, None);
    let value = |name: &str| report.readings.iter().find(|reading| reading.metric.name == name).unwrap().value;
    assert!(value("node_memory_MemAvailable_bytes") < value("node_memory_MemTotal_bytes"));
    assert!(value("node_boot_time_seconds") < value("node_time_seconds"));
}
