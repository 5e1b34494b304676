//! A pool on the real Slurm: Debian's slurmctld, slurmd and munge, with several nodes on this machine.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::TrialState;
use tunebook_tests::{Kernel, PATIENCE, cell, eventually, executable, lacks};

/// Nodes of the cluster. Each has two processors, so there are 16 slots.
const NODES: usize = 8;

/// A cluster whose daemons end when it is dropped.
struct Cluster {
    folder: tempfile::TempDir,
    /// The user that runs everything.
    user: String,
    daemons: Vec<Child>,
    /// The daemon of each node, by its index in `daemons`.
    nodes: BTreeMap<String, usize>,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().to_path_buf();
        let path = |name: &str| base.join(name);
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).expect("the user").expect("a user with a name");
        let user = user.name;
        let mut cluster = Self { user: user.clone(), daemons: vec![], nodes: BTreeMap::new(), folder };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the name of this machine");
        let host = host.trim();
        let listeners: Vec<TcpListener> =
            (0..=NODES).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("an address").port()).collect();
        drop(listeners);
        let root = path("").display().to_string();
        let root = root.trim_end_matches('/');
        let mut configuration = format!(
            "ClusterName=tunebook\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmUser={user}\n\
             SlurmdUser={user}\nAuthType=auth/munge\nAuthInfo=socket={root}/munge.socket\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nStateSaveLocation={root}/state\nSlurmdSpoolDir={root}/spool/%n\n\
             SlurmctldPidFile={root}/slurmctld.pid\nSlurmdPidFile={root}/%n.pid\nSlurmctldLogFile={root}/slurmctld.log\n\
             SlurmdLogFile={root}/%n.log\nSlurmdParameters=config_overrides\nMpiDefault=none\nSwitchType=switch/none\n\
             JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\nSlurmdTimeout=10\n\
             KillWait=2\nReturnToService=2\n",
            ports[0],
        );
        for (i, port) in ports[1..].iter().enumerate() {
            let node = format!("n{}", i + 1);
            configuration += &format!("NodeName={node} NodeHostName={host} NodeAddr=127.0.0.1 Port={port} CPUs=2\n");
            std::fs::create_dir_all(path("spool").join(&node)).expect("a folder");
        }
        configuration += "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n";
        std::fs::create_dir_all(path("state")).expect("a folder");
        std::fs::write(path("slurm.conf"), configuration).expect("the configuration");
        let key: Vec<u8> = (0..8).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).collect();
        std::fs::write(path("munge.key"), key).expect("a key");
        let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path("munge.key"), secret).expect("a secret key");
        let option = |name: &str, file: &str| format!("--{name}={root}/{file}");
        let options = [
            option("socket", "munge.socket"),
            option("key-file", "munge.key"),
            option("pid-file", "munged.pid"),
            option("log-file", "munged.log"),
            option("seed-file", "munge.seed"),
        ];
        cluster.daemon("munged", &["--foreground", "--force"], &options);
        assert!(eventually(PATIENCE, || path("munge.socket").exists()).await, "munged starts");
        cluster.daemon("slurmctld", &["-D"], &[]);
        for node in (1..=NODES).map(|number| format!("n{number}")) {
            cluster.nodes.insert(node.clone(), cluster.daemons.len());
            cluster.daemon("slurmd", &["-D", "-N", &node], &[]);
        }
        let idle = |cluster: &Cluster| {
            cluster.ask("sinfo", &["--noheader", "--Node", "--format=%T"]).lines().filter(|l| *l == "idle").count()
        };
        let ready = eventually(PATIENCE, || idle(&cluster) == NODES).await;
        assert!(ready, "{}", cluster.ask("sinfo", &["--long"]) + &cluster.log());
        cluster
    }

    fn daemon(&mut self, name: &str, words: &[&str], options: &[String]) {
        let program = program(name).expect("the daemon");
        let mut command = Command::new(program);
        command.args(words).args(options).env("SLURM_CONF", self.configuration()).stdin(Stdio::null());
        let daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon starts");
        self.daemons.push(daemon);
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("slurmctld.log")).unwrap_or_default()
    }

    /// Runs a command of Slurm and returns what it printed.
    fn ask(&self, name: &str, words: &[&str]) -> String {
        let output = Command::new(name).args(words).env("SLURM_CONF", self.configuration()).output().expect(name);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How many jobs the cluster has.
    fn jobs(&self) -> usize {
        self.ask("squeue", &["--noheader", "--format=%i"]).lines().count()
    }

    /// A job that takes all of some nodes until it is cancelled.
    async fn block(&self, nodes: &str) {
        let list = format!("--nodelist={nodes}");
        self.ask("sbatch", &["--exclusive", &list, "--job-name=block", "--output=/dev/null", "--wrap=sleep 3600"]);
        let running = || self.ask("squeue", &["--noheader", "--name=block", "--format=%T"]).contains("RUNNING");
        assert!(eventually(PATIENCE, running).await, "{}", self.log());
    }

    fn unblock(&self) {
        self.ask("scancel", &["--name=block"]);
    }

    /// Kills everything that runs on a node, as the loss of its power would.
    fn kill(&mut self, node: &str) {
        let jobs = self.ask("squeue", &["--noheader", "--format=%i", "--nodelist", node]);
        let jobs: Vec<String> = jobs.lines().map(|job| format!("slurmstepd: [{}.", job.trim())).collect();
        end(&mut self.daemons[self.nodes[node]]);
        let on_node = format!("SLURMD_NODENAME={node}");
        for (pid, name) in processes() {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let is_step = jobs.iter().any(|job| name.starts_with(job));
            if is_step || environment.split(|byte| *byte == 0).any(|entry| entry == on_node.as_bytes()) {
                kill(pid);
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ask("scancel", &["--user", &self.user]);
        // The steps of jobs would outlive the daemon of their node.
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.jobs() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        for daemon in &mut self.daemons {
            end(daemon);
        }
    }
}

fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

fn end(daemon: &mut Child) {
    let _ = daemon.kill();
    let _ = daemon.wait();
}

/// All processes of this machine, with their command lines.
fn processes() -> Vec<(i32, String)> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.map(|pid| (pid, tunebook_tests::command_of(pid))).collect()
}

/// Daemons are in a folder that only the administrator has on the PATH.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.exists())
}

/// How often each line of a file occurs.
fn counted(folder: &Path, name: &str) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join(name)).unwrap_or_default().lines() {
        *counts.entry(line.parse().expect("the number of a trial")).or_default() += 1;
    }
    counts
}

/// Jobs of this pool take one processor each.
const ADD: &str = "%pool add cluster --slurm '--cpus-per-task=1' --slots 16";

fn sweep(trials: usize) -> String {
    format!("%%sweep cluster --trials {trials}\ncommand sh trial.sh {{x}}\nnuisance x ~ uniform(0, 1)\nminimize e")
}

async fn kernel_of(cluster: &Cluster, folder: &Path) -> Kernel {
    let configuration = cluster.configuration().display().to_string();
    Kernel::start_as(folder, Command::new(executable("tunebook")), &[("SLURM_CONF", &configuration)]).await
}

#[tokio::test]
async fn a_cluster_that_loses_one_node_and_drains_another_loses_no_trial_and_runs_none_twice() {
    if lacks("slurm") {
        return;
    }
    let mut cluster = Cluster::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut kernel = kernel_of(&cluster, folder.path()).await;
    // A trial takes a second, and reports each step.
    let trial = "echo $TUNEBOOK_TRIAL >> began
        for step in 1 2 3 4; do sleep 0.25; echo \"{\\\"step\\\": $step, \\\"e\\\": $1}\"; done
        echo $TUNEBOOK_TRIAL >> ended";
    std::fs::write(folder.path().join("trial.sh"), trial).expect("a script");
    kernel.run_ok("%pool remove local").await;
    kernel.run_ok(ADD).await;

    // Half of the cluster is taken. The first trials begin on the other half.
    cluster.block("n[5-8]").await;
    const TRIALS: usize = 80;
    let id = kernel.send("execute_request", cell(&sweep(TRIALS))).await;
    let ended = |kernel: &Kernel| kernel.recorded("cluster").iter().filter(|trial| !trial.state.runs_again()).count();
    assert!(eventually(PATIENCE, || ended(&kernel) >= 4).await, "{}", cluster.log());
    let waiting = cluster.ask("squeue", &["--noheader", "--states=PENDING", "--format=%r"]);
    assert!(waiting.lines().count() >= 8, "the other slots wait: {waiting}");
    cluster.unblock();
    assert!(eventually(PATIENCE, || ended(&kernel) >= 12).await);
    cluster.ask("scontrol", &["update", "nodename=n2", "state=drain", "reason=test"]);
    // Trials run on the node that is lost.
    let on_n3 = || cluster.ask("squeue", &["--noheader", "--states=RUNNING", "--nodelist=n3"]).lines().count() == 2;
    assert!(eventually(PATIENCE, on_n3).await);
    cluster.kill("n3");

    let result = kernel.answer(&id).await.result();
    assert_eq!(result["trials"]["complete"], TRIALS, "{result}");
    let recorded = kernel.recorded("cluster");
    assert!(recorded.iter().all(|trial| trial.state == TrialState::Complete));
    assert_eq!(
        recorded.iter().map(|trial| trial.number as usize).collect::<Vec<_>>(),
        (1..=TRIALS).collect::<Vec<_>>()
    );
    let (began, finished) = (counted(folder.path(), "began"), counted(folder.path(), "ended"));
    assert!(finished.len() == TRIALS && finished.values().all(|count| *count == 1), "{finished:?}");
    let listed = kernel.run_ok("%pool").await.result();
    let slots = listed["pools"][0]["states"].as_array().expect("slots");
    let lost: usize = slots.iter().map(|slot| slot["lost"].as_u64().unwrap_or(0) as usize).sum();
    assert!(lost >= 1, "the node that was lost ran trials: {listed}");
    assert_eq!(began.values().sum::<usize>(), TRIALS + lost, "a trial begins again only if its slot was lost");
    // The record says on which nodes trials ran, also on those that were taken at first.
    let study = kernel.run_ok("%study cluster").await.result();
    let places: Vec<&str> =
        study["environment"]["trials"].as_object().expect("places").values().flat_map(|p| p.as_str()).collect();
    assert_eq!(places.len(), TRIALS);
    for part in [["n1", "n4"], ["n5", "n8"]] {
        assert!(places.iter().any(|place| part.iter().any(|node| place.ends_with(node))), "{part:?}: {places:?}");
    }
    assert!(eventually(PATIENCE, || cluster.jobs() == 0).await, "jobs are left: {}", cluster.ask("squeue", &[]));

    // No trial is complete because its program ends well at the signal by which its job is cancelled.
    let trial = "trap 'exit 0' TERM
        for step in 1 2 3 4; do sleep 0.25; echo \"{\\\"step\\\": $step, \\\"e\\\": $1}\"; done
        echo $TUNEBOOK_TRIAL >> whole";
    std::fs::write(folder.path().join("trial.sh"), trial).expect("a script");
    let id = kernel.send("execute_request", cell(&sweep(24).replace("sweep cluster", "sweep cancelled"))).await;
    let running = || cluster.ask("squeue", &["--noheader", "--states=RUNNING"]).lines().count();
    assert!(eventually(PATIENCE, || running() >= 8).await, "{}", cluster.log());
    cluster.ask("scancel", &["--user", &cluster.user, "--state=RUNNING"]);
    let result = kernel.answer(&id).await.result();
    assert_eq!(result["trials"]["complete"], 24, "{result}");
    assert_eq!(counted(folder.path(), "whole").len(), 24);

    // A kernel that dies leaves no job, neither one that runs nor one that waits.
    std::fs::write(folder.path().join("trial.sh"), "touch sleeps; sleep 600").expect("a script");
    cluster.block("n[4-8]").await;
    kernel.send("execute_request", cell(&sweep(100).replace("sweep cluster", "sweep other"))).await;
    let waits = || cluster.ask("squeue", &["--noheader", "--states=PENDING"]).lines().count() > 0;
    assert!(eventually(PATIENCE, || waits() && folder.path().join("sleeps").exists()).await);
    kernel.kill();
    assert!(eventually(PATIENCE, || cluster.jobs() == 1).await, "jobs are left: {}", cluster.ask("squeue", &[]));
    assert_eq!(cluster.ask("squeue", &["--noheader", "--format=%j"]).trim(), "block");
    let sleeps = || processes().iter().filter(|(_, command)| command.starts_with("sleep 600")).count();
    assert!(eventually(PATIENCE, || sleeps() == 0).await);
}
