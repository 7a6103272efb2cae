//! The kind `host` on the real machine: a small filesystem of a test's own, a control group, and the machine as others
//! see it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::agent::{Agent, Setup};
use crate::support::cgroup::Group;
use crate::support::mount::Tmpfs;
use crate::support::place::run;
use crate::support::wait::{SOON, eventually, until};

const OFTEN: &str = "defaults: {interval: 200ms}\ntargets: {machine: {host: {}}}";

fn figures(agent: &Agent, name: &str, at: &Path) -> Vec<f64> {
    agent.metrics(name, &[&format!("mountpoint=\"{}\"", at.display())])
}

/// In the order of its columns.
fn df(columns: &str, at: &Path) -> Vec<f64> {
    let said = run(Command::new("df").args(["-B1", &format!("--output={columns}")]).arg(at));
    said.lines().nth(1).unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn a_filesystem_counts_as_df_does_while_it_fills() {
    let disk = Tmpfs::mount(4096);
    let agent = Agent::start(OFTEN);
    agent.wait_for_verdict("machine", true);
    let names = ["size_bytes", "avail_bytes", "files", "files_free"].map(|name| format!("node_filesystem_{name}"));
    let seen = || names.iter().flat_map(|name| figures(&agent, name, disk.path())).collect::<Vec<_>>();
    let as_df_says = || {
        let wanted = df("size,avail,itotal,iavail", disk.path());
        let seen = seen();
        if seen == wanted { Ok(seen) } else { Err(format!("{seen:?}, not {wanted:?}")) }
    };
    let empty = eventually("the figures of df", SOON, as_df_says);
    assert_eq!((empty[0], empty[1]), (4096.0 * 1024.0, 4096.0 * 1024.0));
    let ballast = disk.fill();
    let full = eventually("the figures of df, when it is full", SOON, || {
        as_df_says().and_then(|seen| if seen[1] == 0.0 { Ok(seen) } else { Err(format!("{seen:?}")) })
    });
    assert!(full[3] < empty[3], "one file is in it");
    fs::remove_file(ballast).unwrap();
    until("the space to be free again", SOON, || seen() == empty);
    assert_eq!(figures(&agent, "node_filesystem_readonly", disk.path()), [0.0]);
    disk.make_read_only();
    until("it to be read-only", SOON, || figures(&agent, "node_filesystem_readonly", disk.path()) == [1.0]);
    let at = disk.path().to_owned();
    drop(disk);
    until("it to be gone", SOON, || figures(&agent, "node_filesystem_size_bytes", &at).is_empty());
}

#[test]
fn the_root_is_as_large_as_df_says_and_its_reserve_is_not_available() {
    let wanted = df("size", Path::new("/"));
    let probed = probe("{fs_types_exclude: ''}");
    let of_root = |name: &str| value(&probed, &format!("node_filesystem_{name}"), ",mountpoint=\"/\"}");
    assert_eq!(of_root("size_bytes"), wanted[0]);
    assert!(of_root("avail_bytes") <= of_root("free_bytes"));
}

/// What `watchkeeper probe` shows of a host with these settings.
fn probe(settings: &str) -> String {
    let setup = Setup::without_configuration();
    let path = setup.configure(&format!("targets: {{machine: {{host: {settings}}}}}")).display().to_string();
    let ended = setup.argument("probe").argument("--config").argument(&path).argument("machine").run_to_end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.output
}

#[track_caller]
fn value(probed: &str, name: &str, labels: &str) -> f64 {
    let line = probed.lines().find(|line| line.trim_start().starts_with(name) && line.contains(labels));
    let line = line.unwrap_or_else(|| panic!("no {name}…{labels} in\n{probed}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn a_look_reads_well_and_says_what_the_kernel_says() {
    let probed = probe("{}");
    assert!(probed.starts_with("OK host "), "{probed}");
    for phase in ["  proc ", "  filesystems ", "  cgroup "] {
        assert!(probed.contains(phase), "{probed}");
    }
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(value(&probed, "node_memory_MemTotal_bytes", ""), total * 1024.0);
    let cpus = fs::read_to_string("/proc/stat").unwrap().lines().filter(|line| line.starts_with("cpu")).count() - 1;
    let idle = probed.lines().filter(|line| line.contains("mode=\"idle\"")).count();
    assert_eq!(idle, cpus);
}

#[test]
fn a_proc_that_is_not_there_leaves_the_agent_blind_and_nobody_down() {
    let text = "defaults: {interval: 200ms, confirm: 50ms}\ntargets: {machine: {host: {proc: /nowhere}}}";
    let agent = Agent::start(text);
    until("it to be blind", SOON, || agent.metric("watchkeeper_blind_targets") == Some(1.0));
    assert!(agent.metrics("watchkeeper_target_up", &["target=\"machine\""]).is_empty(), "unknown, not down");
    let failures = agent.metrics("watchkeeper_target_failure", &["reason=\"unreadable\""]);
    assert_eq!(failures, [1.0]);
    assert!(agent.get("/api/v1/targets").body.contains("cannot read /nowhere/stat"));
}

#[test]
fn memory_pressed_in_its_group_is_seen_against_the_limit() {
    let group = match Group::new("memory") {
        Ok(group) => group,
        Err(why) => return println!("skipped: no control group can be made here: {why}"),
    };
    const MIB: f64 = 1024.0 * 1024.0;
    group.allow(64 << 20);
    let disk = Tmpfs::mount(64 * 1024);
    let agent = Agent::start(OFTEN);
    group.take(agent.id());
    until("its limit", SOON, || agent.metric("container_spec_memory_limit_bytes") == Some(64.0 * MIB));
    let working_set = || agent.metric("container_memory_working_set_bytes").unwrap_or_default();
    let before = working_set();
    assert!(before < 24.0 * MIB, "{before}");
    let file = disk.path().join("pressure");
    group.write(40, &file);
    until("the pressure", SOON, || (40.0 * MIB..64.0 * MIB).contains(&working_set()));
    assert!(working_set() / agent.metric("container_spec_memory_limit_bytes").unwrap() > 0.6);
    assert_eq!(agent.metric("container_oom_events_total"), Some(0.0));
    fs::remove_file(file).unwrap();
    until("the pressure to be gone", SOON, || working_set() < 24.0 * MIB);
}
