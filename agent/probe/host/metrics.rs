//! Every metric of a host target: `node_*` are node_exporter's names and types, `container_*` those of cAdvisor.

use crate::sample::{Metric, MetricKind};

pub static CPU_SECONDS: Metric =
    Metric::counter("node_cpu_seconds_total", "Seconds that each CPU spent in each mode.").labelled(&["cpu", "mode"]);
pub static LOAD1: Metric = Metric::gauge("node_load1", "The load average over 1 minute.");
pub static LOAD5: Metric = Metric::gauge("node_load5", "The load average over 5 minutes.");
pub static LOAD15: Metric = Metric::gauge("node_load15", "The load average over 15 minutes.");
pub static BOOT_TIME: Metric = Metric::gauge("node_boot_time_seconds", "When the machine was started, Unix seconds.");
pub static TIME: Metric = Metric::gauge("node_time_seconds", "The machine's clock, Unix seconds.");
pub static UNAME: Metric =
    Metric::gauge("node_uname_info", "Always 1; the labels are what uname(2) says of the system.").labelled(&[
        "domainname",
        "machine",
        "nodename",
        "release",
        "sysname",
        "version",
    ]);

pub static MEM_TOTAL: Metric = Metric::gauge("node_memory_MemTotal_bytes", "Memory that the kernel manages.");
pub static MEM_AVAILABLE: Metric =
    Metric::gauge("node_memory_MemAvailable_bytes", "Memory that programs can be given without swapping.");
pub static MEM_FREE: Metric = Metric::gauge("node_memory_MemFree_bytes", "Memory that nothing uses.");
pub static BUFFERS: Metric = Metric::gauge("node_memory_Buffers_bytes", "Memory that caches block devices.");
pub static CACHED: Metric = Metric::gauge("node_memory_Cached_bytes", "Memory that caches files, tmpfs included.");
pub static SWAP_TOTAL: Metric = Metric::gauge("node_memory_SwapTotal_bytes", "Swap space.");
pub static SWAP_FREE: Metric = Metric::gauge("node_memory_SwapFree_bytes", "Swap space that nothing uses.");
pub static OOM_KILL: Metric = Metric {
    name: "node_vmstat_oom_kill",
    help: "Processes that the kernel has killed for want of memory since it started.",
    kind: MetricKind::Untyped,
    labels: &[],
};

pub static FILESYSTEM_SIZE: Metric = Metric::gauge("node_filesystem_size_bytes", "The size of a filesystem.")
    .labelled(&["device", "fstype", "mountpoint"]);
pub static FILESYSTEM_FREE: Metric =
    Metric::gauge("node_filesystem_free_bytes", "The space that is free, with what is kept for root.").labelled(&[
        "device",
        "fstype",
        "mountpoint",
    ]);
pub static FILESYSTEM_AVAIL: Metric =
    Metric::gauge("node_filesystem_avail_bytes", "The space that is free for those who are not root, as df counts.")
        .labelled(&["device", "fstype", "mountpoint"]);
pub static FILESYSTEM_FILES: Metric =
    Metric::gauge("node_filesystem_files", "How many files (inodes) a filesystem can hold.").labelled(&[
        "device",
        "fstype",
        "mountpoint",
    ]);
pub static FILESYSTEM_FILES_FREE: Metric =
    Metric::gauge("node_filesystem_files_free", "How many more files (inodes) a filesystem can hold.").labelled(&[
        "device",
        "fstype",
        "mountpoint",
    ]);
pub static FILESYSTEM_READONLY: Metric =
    Metric::gauge("node_filesystem_readonly", "Whether a filesystem is mounted read-only (1) or not (0).").labelled(&[
        "device",
        "fstype",
        "mountpoint",
    ]);
pub static FILESYSTEM_ERROR: Metric =
    Metric::gauge("node_filesystem_device_error", "Whether a filesystem could not be asked (1) or was (0).")
        .labelled(&["device", "fstype", "mountpoint"]);

pub static DISK_READS: Metric =
    Metric::counter("node_disk_reads_completed_total", "Reads that a device has completed.").labelled(&["device"]);
pub static DISK_READ_BYTES: Metric =
    Metric::counter("node_disk_read_bytes_total", "Bytes read from a device.").labelled(&["device"]);
pub static DISK_READ_SECONDS: Metric =
    Metric::counter("node_disk_read_time_seconds_total", "Seconds that the reads of a device took, added up.")
        .labelled(&["device"]);
pub static DISK_WRITES: Metric =
    Metric::counter("node_disk_writes_completed_total", "Writes that a device has completed.").labelled(&["device"]);
pub static DISK_WRITTEN_BYTES: Metric =
    Metric::counter("node_disk_written_bytes_total", "Bytes written to a device.").labelled(&["device"]);
pub static DISK_WRITE_SECONDS: Metric =
    Metric::counter("node_disk_write_time_seconds_total", "Seconds that the writes of a device took, added up.")
        .labelled(&["device"]);
pub static DISK_IO_NOW: Metric =
    Metric::gauge("node_disk_io_now", "Reads and writes of a device that are under way.").labelled(&["device"]);
pub static DISK_IO_SECONDS: Metric =
    Metric::counter("node_disk_io_time_seconds_total", "Seconds during which a device was busy.").labelled(&["device"]);
pub static DISK_IO_WEIGHTED: Metric = Metric::counter(
    "node_disk_io_time_weighted_seconds_total",
    "Seconds during which a device was busy, times what was under way.",
)
.labelled(&["device"]);

pub static NETWORK_RECEIVE_BYTES: Metric =
    Metric::counter("node_network_receive_bytes_total", "Bytes received over an interface.").labelled(&["device"]);
pub static NETWORK_RECEIVE_ERRS: Metric =
    Metric::counter("node_network_receive_errs_total", "Packets received with an error.").labelled(&["device"]);
pub static NETWORK_RECEIVE_DROP: Metric =
    Metric::counter("node_network_receive_drop_total", "Packets received and dropped.").labelled(&["device"]);
pub static NETWORK_TRANSMIT_BYTES: Metric =
    Metric::counter("node_network_transmit_bytes_total", "Bytes sent over an interface.").labelled(&["device"]);
pub static NETWORK_TRANSMIT_ERRS: Metric =
    Metric::counter("node_network_transmit_errs_total", "Packets that could not be sent.").labelled(&["device"]);
pub static NETWORK_TRANSMIT_DROP: Metric =
    Metric::counter("node_network_transmit_drop_total", "Packets dropped instead of being sent.").labelled(&["device"]);

pub static FILEFD_ALLOCATED: Metric =
    Metric::gauge("node_filefd_allocated", "File handles that are in use on the whole machine.");
pub static FILEFD_MAXIMUM: Metric = Metric::gauge("node_filefd_maximum", "How many file handles there can be.");
pub static CONNTRACK_ENTRIES: Metric =
    Metric::gauge("node_nf_conntrack_entries", "Connections that the packet filter keeps track of.");
pub static CONNTRACK_LIMIT: Metric =
    Metric::gauge("node_nf_conntrack_entries_limit", "How many connections the packet filter can keep track of.");

pub static CONTAINER_MEMORY_USAGE: Metric =
    Metric::gauge("container_memory_usage_bytes", "Memory of the agent's own cgroup, caches included.");
pub static CONTAINER_MEMORY_WORKING_SET: Metric = Metric::gauge(
    "container_memory_working_set_bytes",
    "Memory of the agent's own cgroup without the file cache that can be dropped.",
);
pub static CONTAINER_MEMORY_LIMIT: Metric =
    Metric::gauge("container_spec_memory_limit_bytes", "The memory limit of the agent's own cgroup.");
pub static CONTAINER_OOM_EVENTS: Metric =
    Metric::counter("container_oom_events_total", "Processes of the agent's own cgroup killed for want of memory.");
pub static CONTAINER_CPU_SECONDS: Metric =
    Metric::counter("container_cpu_usage_seconds_total", "CPU time that the agent's own cgroup has used.")
        .labelled(&["cpu"]);
pub static CONTAINER_CFS_PERIODS: Metric =
    Metric::counter("container_cpu_cfs_periods_total", "Periods in which the CPU quota was reckoned.");
pub static CONTAINER_CFS_THROTTLED_PERIODS: Metric =
    Metric::counter("container_cpu_cfs_throttled_periods_total", "Periods in which the CPU quota ran out.");
pub static CONTAINER_CFS_THROTTLED_SECONDS: Metric = Metric::counter(
    "container_cpu_cfs_throttled_seconds_total",
    "Seconds for which the agent's own cgroup was held back by its CPU quota.",
);
pub static CONTAINER_CPU_QUOTA: Metric =
    Metric::gauge("container_spec_cpu_quota", "CPU time that the agent's own cgroup has in a period, in microseconds.");
pub static CONTAINER_CPU_PERIOD: Metric =
    Metric::gauge("container_spec_cpu_period", "The period of the CPU quota, in microseconds.");

pub static LEFT_OUT: Metric = Metric::gauge(
    "watchkeeper_host_left_out",
    "What is beyond the limits of one look and therefore not reported: cpus, filesystems, disks, networks.",
)
.labelled(&["what"]);

pub const ALL: &[&Metric] = &[
    &CPU_SECONDS,
    &LOAD1,
    &LOAD5,
    &LOAD15,
    &BOOT_TIME,
    &TIME,
    &UNAME,
    &MEM_TOTAL,
    &MEM_AVAILABLE,
    &MEM_FREE,
    &BUFFERS,
    &CACHED,
    &SWAP_TOTAL,
    &SWAP_FREE,
    &OOM_KILL,
    &FILESYSTEM_SIZE,
    &FILESYSTEM_FREE,
    &FILESYSTEM_AVAIL,
    &FILESYSTEM_FILES,
    &FILESYSTEM_FILES_FREE,
    &FILESYSTEM_READONLY,
    &FILESYSTEM_ERROR,
    &DISK_READS,
    &DISK_READ_BYTES,
    &DISK_READ_SECONDS,
    &DISK_WRITES,
    &DISK_WRITTEN_BYTES,
    &DISK_WRITE_SECONDS,
    &DISK_IO_NOW,
    &DISK_IO_SECONDS,
    &DISK_IO_WEIGHTED,
    &NETWORK_RECEIVE_BYTES,
    &NETWORK_RECEIVE_ERRS,
    &NETWORK_RECEIVE_DROP,
    &NETWORK_TRANSMIT_BYTES,
    &NETWORK_TRANSMIT_ERRS,
    &NETWORK_TRANSMIT_DROP,
    &FILEFD_ALLOCATED,
    &FILEFD_MAXIMUM,
    &CONNTRACK_ENTRIES,
    &CONNTRACK_LIMIT,
    &CONTAINER_MEMORY_USAGE,
    &CONTAINER_MEMORY_WORKING_SET,
    &CONTAINER_MEMORY_LIMIT,
    &CONTAINER_OOM_EVENTS,
    &CONTAINER_CPU_SECONDS,
    &CONTAINER_CFS_PERIODS,
    &CONTAINER_CFS_THROTTLED_PERIODS,
    &CONTAINER_CFS_THROTTLED_SECONDS,
    &CONTAINER_CPU_QUOTA,
    &CONTAINER_CPU_PERIOD,
    &LEFT_OUT,
];
