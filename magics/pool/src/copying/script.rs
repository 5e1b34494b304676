//! The shell script by which a slot begins on a machine that may not have the executable.

use crate::NeededFile;

/// Stand for the size and the hash of the executable. They are known once the slot starts.
const SIZE: &str = "{size}";
const SHA256: &str = "{sha256}";

/// Becomes the executable with the hash `$2`, which has `$1` bytes. If the machine lacks it, the script asks for it.
/// Slots that start at the same time wait for the first of them. If that one has died, or needs longer than ten
/// minutes, the next one asks. Meanwhile they say every half minute that they wait.
///
/// First it waits for [`GO`]: what a pod says before `kubectl` is connected to it is lost. If that does not come within
/// ten minutes, nobody will come: the kernel is gone, and the pod was left behind.
///
/// It needs a shell and the basic commands of POSIX, `head -c`, and `sha256sum`. It is one line, because some login
/// shells that `ssh` meets allow no line break in quotes.
const SCRIPT: &str = "\
    umask 077; \
    if command -v timeout >/dev/null; then timeout 600 sh -c 'read -r go'; else read -r go; fi || exit 1; \
    d=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/tunebook/node; f=$d/tunebook-$2; \
    fail() { echo \"$*\" >&2; exit 1; }; \
    mkdir -p \"$d\" || fail \"the folder $d cannot be created; set XDG_CACHE_HOME to one that can be written\"; \
    command -v sha256sum >/dev/null || fail \"there is no sha256sum, by which copies are checked; install coreutils\"; \
    n=0; \
    until [ -x \"$f\" ]; do \
      if mkdir \"$f.lock\" 2>/dev/null || [ $n -ge 600 ]; then \
        trap 'rm -rf \"$f.lock\" \"$f.$$\"' EXIT; trap 'exit 1' HUP INT TERM; \
        echo $$ >\"$f.lock/pid\"; \
        echo '{\"type\":\"send_executable\"}'; \
        head -c \"$1\" >\"$f.$$\" || fail \"the executable cannot be written to $d\"; \
        s=$(sha256sum <\"$f.$$\"); \
        [ \"${s%% *}\" = \"$2\" ] || fail \"the executable arrived damaged, or changed while it was copied\"; \
        chmod 700 \"$f.$$\" && mv -f \"$f.$$\" \"$f\" || fail \"the executable cannot be written to $d\"; \
        rm -rf \"$f.lock\"; trap - EXIT HUP INT TERM; \
      else \
        [ $((n % 30)) -gt 0 ] || echo '{\"type\":\"waits\"}'; \
        p=; if [ -r \"$f.lock/pid\" ]; then read -r p <\"$f.lock/pid\"; fi; \
        if [ -n \"$p\" ]; then kill -0 \"$p\" 2>/dev/null || rm -rf \"$f.lock\"; \
        elif [ $n -ge 5 ]; then rm -rf \"$f.lock\"; fi; \
        sleep 1; n=$((n + 1)); \
      fi; \
    done; \
    shift 2; exec \"$f\" \"$@\"";

/// A line that another program printed, without the script if it shows that.
pub(crate) fn without_script(line: &str) -> String {
    let Some((start, _)) = SCRIPT.split_once(';') else { return line.into() };
    match line.find(start) {
        Some(at) => format!("{}…", &line[..at]),
        None => line.into(),
    }
}

/// The first line to the script.
pub(crate) const GO: &[u8] = b"\n";

/// The command that runs a slot, with the executable copied. `slot` is the command where the executable is in its
/// place.
pub(crate) fn words(slot: &[String]) -> Vec<String> {
    let own = ["sh", "-c", SCRIPT, "tunebook-slot", SIZE, SHA256].map(String::from);
    own.into_iter().chain(slot.iter().skip(1).cloned()).collect()
}

/// The command with the size and the hash of the executable in their places.
pub(crate) fn fill(command: &mut [String], executable: &NeededFile) {
    for word in command {
        *word = word.replace(SIZE, &executable.size.to_string()).replace(SHA256, &executable.sha256);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    const PROGRAM: &str = "#!/bin/sh\necho \"$0 $*\"\n";

    fn executable(content: &str) -> NeededFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tunebook");
        std::fs::write(&path, content).unwrap();
        NeededFile::of(&path).unwrap()
    }

    fn start(home: &Path) -> Child {
        let mut command = words(&["tunebook".into(), "slot".into(), "a b".into()]);
        fill(&mut command, &executable(PROGRAM));
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).env("HOME", home).env_remove("XDG_CACHE_HOME");
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        process.stdin.as_mut().unwrap().write_all(GO).unwrap();
        process
    }

    fn line(child: &mut Child) -> String {
        let mut line = vec![];
        let stdout = child.stdout.as_mut().unwrap();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            if stdout.read(&mut byte).unwrap() == 0 {
                break;
            }
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_executable_is_asked_for_once_and_then_run_with_its_words() {
        let home = tempfile::tempdir().unwrap();
        let mut first = start(home.path());
        assert_eq!(line(&mut first), "{\"type\":\"send_executable\"}\n");
        // One that starts at the same time waits for the first.
        let mut second = start(home.path());
        assert_eq!(line(&mut second), "{\"type\":\"waits\"}\n");
        first.stdin.as_mut().unwrap().write_all(PROGRAM.as_bytes()).unwrap();
        let ran = line(&mut first);
        assert!(ran.contains("/.cache/tunebook/node/tunebook-") && ran.ends_with(" slot a b\n"), "{ran}");
        assert_eq!(line(&mut second), ran);
        assert_eq!(line(&mut start(home.path())), ran, "a later one has it");
        assert_eq!(std::fs::read_dir(home.path().join(".cache/tunebook/node")).unwrap().count(), 1, "no file is left");
    }

    #[test]
    fn a_slot_that_nobody_tells_to_go_ends() {
        let home = tempfile::tempdir().unwrap();
        let mut command = words(&["tunebook".into()]);
        fill(&mut command, &executable(PROGRAM));
        command[2] = command[2].replace("timeout 600", "timeout 0.2");
        let mut process = Command::new(&command[0]);
        let process = process.args(&command[1..]).env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The input stays open.
        let _input = process.stdin.take();
        assert!(!process.wait().unwrap().success());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing was written");
    }

    #[test]
    fn the_script_survives_the_shell_that_ssh_meets() {
        let home = tempfile::tempdir().unwrap();
        let launcher = crate::Launcher::Prefix(vec!["ssh".into(), "host".into()]);
        let mut command = launcher.command("far", 0, &words(&["tunebook".into(), "a b".into()]));
        fill(&mut command, &executable(PROGRAM));
        // As `ssh` does, the words are joined, and the login shell of the other machine takes them apart.
        let mut process = Command::new("sh");
        process.arg("-c").arg(command[2..].join(" ")).env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.as_mut().unwrap().write_all(GO).unwrap();
        assert_eq!(line(&mut process), "{\"type\":\"send_executable\"}\n");
        process.stdin.as_mut().unwrap().write_all(PROGRAM.as_bytes()).unwrap();
        assert!(line(&mut process).ends_with(" a b\n"));
    }

    #[test]
    fn a_damaged_executable_is_not_run_and_the_next_slot_asks_again() {
        let home = tempfile::tempdir().unwrap();
        let mut process = start(home.path());
        line(&mut process);
        process.stdin.take().unwrap().write_all(PROGRAM.replace("echo", "exit").as_bytes()).unwrap();
        let mut errors = BufReader::new(process.stderr.take().unwrap()).lines();
        assert!(errors.next().unwrap().unwrap().contains("arrived damaged"));
        assert!(!process.wait().unwrap().success());
        let mut next = start(home.path());
        assert_eq!(line(&mut next), "{\"type\":\"send_executable\"}\n");
        // A slot that dies while it copies is followed by the next one.
        next.kill().unwrap();
        next.wait().unwrap();
        let mut last = start(home.path());
        assert_eq!(line(&mut last), "{\"type\":\"waits\"}\n");
        assert_eq!(line(&mut last), "{\"type\":\"send_executable\"}\n");
    }

    #[test]
    fn what_other_programs_print_is_shown_without_the_script() {
        let words = words(&["tunebook".into()]).join(" ");
        assert_eq!(without_script(&format!("ssh: bad: {words}")), "ssh: bad: sh -c …");
        assert_eq!(without_script("no such host"), "no such host");
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_named() {
        let home = tempfile::NamedTempFile::new().unwrap();
        let output = start(home.path()).wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains("set XDG_CACHE_HOME"), "{errors}");
    }
}
