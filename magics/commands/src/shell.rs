//! Runs shell commands and programs of a cell: shows their output as it comes, and ends them with all that they
//! started.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output, Stream};
use crate::process::ProcessError;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tunebook_pool::Environment;

/// How often an interrupt and the end of a process are looked for while nothing is printed.
const TICK: Duration = Duration::from_millis(5);
/// The time that an interrupted process has to end by itself, and that killed processes have to close their pipes.
const PATIENCE: Duration = Duration::from_millis(600);
/// How long the output of processes that a command leaves in the background is shown after the end of the command.
const LINGER: Duration = Duration::from_millis(100);
/// A pipe holds at most this many bytes, unless a privileged program enlarges it.
const PIPE_CAPACITY: usize = 1 << 20;

/// The process groups of commands that run, and those that commands left running (`!server &`). They belong to the
/// kernel process, which ends them when it ends.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(vec![]);

/// Runs `!command` in the shell, to its end or until it is interrupted.
pub fn run(command: &str, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    if let Some(session) = output.session() {
        Environment(session.environment()).give(&mut shell);
    }
    match stream(shell, None, output, interrupt) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(MagicError::new(ErrorName::ShellError, format!("the command {}", ending(status)), None)),
        Err(ProcessError::Interrupted | ProcessError::TimedOut) => {
            Err(MagicError::interrupted("the command was interrupted"))
        }
        Err(ProcessError::Io(error)) => {
            Err(MagicError::new(ErrorName::ShellError, format!("the shell `sh` cannot be started: {error}"), None))
        }
    }
}

/// Kills the processes of commands, also those that commands left running. The kernel calls this when it shuts down.
pub fn end_all() {
    end(|_| true);
}

/// Kills the processes of the groups that are chosen.
fn end(is_chosen: impl Fn(Pid) -> bool) {
    GROUPS.lock().retain(|group| {
        let chosen = is_chosen(*group);
        if chosen {
            let _ = killpg(*group, Signal::SIGKILL);
        }
        !chosen
    });
}

/// How a process ended, as the predicate of a sentence.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(Ok(signal))) => format!("was ended by the signal {signal}"),
        _ => format!("ended ({status})"),
    }
}

/// Runs a process in a group of its own, with `input` on its standard input, and prints its output as it comes. An
/// interrupt is passed on to the group as SIGINT; what is left of the group after [`PATIENCE`] is killed.
///
/// Standard output and standard error are one pipe, as they are one screen in a terminal. With two pipes nobody could
/// tell in which order a program has written to them.
///
/// Everything that a process has printed before its end is shown, however late it is read: the output is read until the
/// pipe is closed, or, if another process keeps it open, until it is empty.
pub(crate) fn stream(
    mut command: Command,
    input: Option<String>,
    output: &dyn Output,
    interrupt: &Interrupt,
) -> std::result::Result<ExitStatus, ProcessError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let (reader, writer) = io::pipe().map_err(ProcessError::Io)?;
    let second = writer.try_clone().map_err(ProcessError::Io)?;
    command.stdin(stdin).stdout(writer).stderr(second).process_group(0);
    let mut child = command.spawn().map_err(ProcessError::Io)?;
    // The command holds the ends for writing. The pipe is closed only when nobody has one.
    drop(command);
    let group = Pid::from_raw(child.id() as i32);
    GROUPS.lock().push(group);
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A thread of its own: a process may print much before it reads, or end without reading.
        std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    }
    let mut pipe = Pipe::new(reader.into()).map_err(ProcessError::Io)?;
    let mut printer = Printer { output, text: Text::default() };
    let (mut ended, mut interrupted) = (None, None);
    let result = loop {
        let is_quiet = pipe.read(TICK, &mut printer) == 0;
        if ended.is_none() {
            ended = child.try_wait().map_err(ProcessError::Io)?.map(|status| (status, Instant::now()));
        }
        if interrupted.is_none() && interrupt.is_raised() {
            let _ = killpg(group, Signal::SIGINT);
            interrupted = Some(Instant::now());
        }
        match (interrupted, ended) {
            (Some(at), _) if at.elapsed() > PATIENCE || (ended.is_some() && !has_processes(group)) => {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                // Dying processes close the pipe. One that has left the group may keep it open; its output is not
                // waited for.
                let killed = Instant::now();
                while !pipe.is_closed && has_processes(group) && killed.elapsed() < PATIENCE {
                    pipe.read(TICK, &mut printer);
                }
                break Err(ProcessError::Interrupted);
            }
            (None, Some((status, at))) if pipe.is_closed || (is_quiet && at.elapsed() > LINGER) => {
                break Ok(status);
            }
            _ => {}
        }
    };
    pipe.drain(&mut printer);
    printer.end();
    pipe.discard();
    forget_ended();
    result
}

/// Whether a process group has a process.
fn has_processes(group: Pid) -> bool {
    killpg(group, None).is_ok()
}

/// Forgets the groups that have ended, because the system gives their numbers to others.
fn forget_ended() {
    GROUPS.lock().retain(|group| has_processes(*group));
}

/// What a process prints. It is read without blocking.
struct Pipe {
    file: File,
    is_closed: bool,
}

impl Pipe {
    fn new(reader: OwnedFd) -> io::Result<Self> {
        // This concerns the kernel's end of the pipe only.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { file: File::from(reader), is_closed: false })
    }

    /// Waits until there is output, at most for `wait`, and prints some of it. Returns the number of bytes that were
    /// read.
    fn read(&mut self, wait: Duration, printer: &mut Printer) -> usize {
        if self.is_closed {
            // A process may close its output and go on.
            std::thread::sleep(wait);
            return 0;
        }
        let mut wanted = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut wanted, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
        let mut buffer = vec![0; 16 << 10];
        match self.file.read(&mut buffer) {
            Ok(count @ 1..) => {
                printer.print(&buffer[..count]);
                count
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Ok(_) | Err(_) => {
                self.is_closed = true;
                0
            }
        }
    }

    /// Prints what is in the pipe now. Output that a process adds meanwhile is printed up to a bound, because it may
    /// have no end.
    fn drain(&mut self, printer: &mut Printer) {
        let mut total = 0;
        while total < 2 * PIPE_CAPACITY {
            match self.read(Duration::ZERO, printer) {
                0 => return,
                count => total += count,
            }
        }
    }

    /// Goes on reading a pipe that is still open, and discards the output: a process in the background would stop when
    /// it prints into a full pipe, and die if nobody held the other end.
    fn discard(mut self) {
        if !self.is_closed {
            std::thread::spawn(move || {
                let _ = fcntl(&self.file, FcntlArg::F_SETFL(OFlag::empty()));
                io::copy(&mut self.file, &mut io::sink())
            });
        }
    }
}

/// Prints the output of a process as text.
struct Printer<'a> {
    output: &'a dyn Output,
    text: Text,
}

impl Printer<'_> {
    fn print(&mut self, piece: &[u8]) {
        let text = self.text.take(piece);
        self.show(&text);
    }

    /// Prints the first bytes of a character whose rest did not come.
    fn end(&mut self) {
        let text = self.text.end();
        self.show(&text);
    }

    fn show(&self, text: &str) {
        if !text.is_empty() {
            self.output.print(Stream::Stdout, text);
        }
    }
}

/// Converts pieces of output to text. A character that is cut in two waits for its rest.
#[derive(Default)]
struct Text {
    held: Vec<u8>,
}

impl Text {
    fn take(&mut self, piece: &[u8]) -> String {
        self.held.extend_from_slice(piece);
        let last = self.held.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let unfinished = match std::str::from_utf8(last) {
            Err(error) if error.error_len().is_none() => last.len(),
            _ => 0,
        };
        let rest = self.held.split_off(self.held.len() - unfinished);
        let whole = std::mem::replace(&mut self.held, rest);
        String::from_utf8_lossy(&whole).into_owned()
    }

    fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::signal::unix::SignalKind;

    fn shell(command: &str) -> (Result<()>, FakeHost) {
        let recorder = FakeHost::without_session();
        (run(command, &recorder, &Interrupt::default()), recorder)
    }

    /// Handles SIGINT where it is ignored, as in what a script starts in the background (`cargo verify &`). Otherwise
    /// the commands would inherit that they ignore it. The kernel handles it always.
    fn handle_interrupts() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
        if u64::from_str_radix(ignored.trim(), 16).is_ok_and(|set| set & (1 << (Signal::SIGINT as u64 - 1)) != 0) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let handler = runtime.block_on(async { tokio::signal::unix::signal(SignalKind::interrupt()) });
            drop(handler.unwrap());
        }
    }

    /// Raises an interrupt as soon as something was printed.
    fn interrupted(command: &str) -> (Result<()>, FakeHost, Duration) {
        handle_interrupts();
        let (recorder, interrupt) = (Arc::new(FakeHost::without_session()), Arc::new(Interrupt::default()));
        let (watched, raised) = (recorder.clone(), interrupt.clone());
        let watcher = std::thread::spawn(move || {
            while watched.stdout().is_empty() {
                std::thread::sleep(TICK);
            }
            raised.raise();
            Instant::now()
        });
        let result = run(command, &*recorder, &interrupt);
        let took = watcher.join().unwrap().elapsed();
        (result, Arc::into_inner(recorder).unwrap(), took)
    }

    fn is_there(pid: &str) -> bool {
        // A process that has ended and was not waited for yet does nothing any more.
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim().starts_with('Z'))
    }

    #[test]
    fn both_streams_and_the_exit_status_arrive() {
        let (result, recorder) = shell("echo out; echo err >&2; printf partial; exit 3");
        let error = result.unwrap_err();
        assert_eq!(
            (error.name.as_str(), error.message.as_str()),
            ("ShellError", "the command ended with exit status 3")
        );
        assert_eq!((recorder.stdout().as_str(), recorder.stderr().as_str()), ("out\nerr\npartial", ""));
        let (result, _) = shell("kill -TERM $$");
        assert_eq!(result.unwrap_err().message, "the command was ended by the signal SIGTERM");
        assert!(shell("true").0.is_ok());
    }

    #[test]
    fn a_part_of_a_line_is_shown_before_the_rest_of_it() {
        // The command goes on only once its first part has been shown.
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let recorder = FakeHost::without_session().on_print(move |text| {
            if text.contains("50%") {
                std::fs::write(&seen, "").unwrap();
            }
        });
        let command = format!(
            "printf 50%%; for i in $(seq 500); do [ -e {0} ] && echo ' 100%' && exit; sleep 0.01; done; exit 1",
            folder.path().join("seen").display()
        );
        run(&command, &recorder, &Interrupt::default()).unwrap();
        assert_eq!(recorder.stdout(), "50% 100%\n");
    }

    #[test]
    fn a_character_cut_in_two_is_whole_again_and_bytes_that_are_no_text_do_no_harm() {
        let (_, recorder) = shell(r"printf 'a\342\202'; sleep 0.2; printf '\254b'");
        assert_eq!(recorder.stdout(), "a€b");
        let (_, recorder) = shell(r"printf '\377x\342'; sleep 0.2; printf '\202\254\342'");
        assert_eq!(recorder.stdout(), "\u{fffd}x€\u{fffd}");
    }

    #[test]
    fn much_output_arrives_whole() {
        let (result, recorder) = shell("seq 1 200000");
        result.unwrap();
        let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(recorder.stdout(), expected);
    }

    #[test]
    fn an_interrupt_ends_all_that_a_command_started() {
        // The sleeper ignores what Ctrl-C sends, and only its group can find it.
        let (result, recorder, took) = interrupted("sh -c 'trap \"\" INT; echo $$; sleep 60' & wait");
        assert_eq!(result.unwrap_err().name.as_str(), "Interrupted");
        assert!(took < 4 * PATIENCE, "{took:?}");
        assert!(!is_there(&recorder.stdout()));
    }

    #[test]
    fn an_interrupted_program_can_end_by_itself() {
        let (result, recorder, _) =
            interrupted("trap 'echo saved; exit' INT; echo started; while :; do sleep 0.01; done");
        assert_eq!(result.unwrap_err().name.as_str(), "Interrupted");
        assert_eq!(recorder.stdout(), "started\nsaved\n");
    }

    #[test]
    fn on_a_busy_machine_all_that_a_program_printed_is_shown() {
        /// Stops the loops, also when a check fails.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            let loops = 8 * std::thread::available_parallelism().map_or(1, |count| count.get());
            for _ in 0..loops {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let numbers: String = (1..=3000).map(|n| format!("{n}\n")).collect();
            for _ in 0..5 {
                let (_, recorder) = shell("seq 3000");
                assert_eq!(recorder.stdout().len(), numbers.len());
                let last = "trap 'seq 3000; exit' INT; echo started; while :; do sleep 0.01; done";
                let (_, recorder, _) = interrupted(last);
                assert_eq!(recorder.stdout().strip_prefix("started\n").map(str::len), Some(numbers.len()));
            }
        });
    }

    #[test]
    fn output_of_a_process_that_leaves_the_group_is_not_waited_for() {
        // It holds the pipe open, prints without an end, and is in no group that an interrupt reaches.
        let command = "setsid sh -c 'echo $$; while :; do echo on; sleep 0.01; done' & wait";
        let (result, recorder, took) = interrupted(command);
        assert_eq!(result.unwrap_err().name.as_str(), "Interrupted");
        assert!(took < 4 * PATIENCE, "{took:?}");
        let stdout = recorder.stdout();
        let pid = stdout.lines().next().unwrap();
        assert!(is_there(pid), "it goes on, and its output is discarded");
        killpg(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_process_in_the_background_goes_on_until_the_kernel_ends() {
        let started = Instant::now();
        let (result, recorder) = shell("sleep 60 & echo $!");
        result.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "the command waited for what runs in the background");
        let pid = recorder.stdout();
        assert!(is_there(&pid));
        // The groups of other tests run on.
        let group = nix::unistd::getpgid(Some(Pid::from_raw(pid.trim().parse().unwrap()))).unwrap();
        end(|other| other == group);
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_there(&pid) && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
        assert!(!is_there(&pid));
    }

    #[test]
    fn what_the_session_adds_to_the_environment_is_there() {
        let recorder = FakeHost::default();
        recorder.set("TUNEBOOK_SHELL_TEST", Some("added"));
        recorder.set("HOME", None);
        run("echo $TUNEBOOK_SHELL_TEST ${HOME-none}", &recorder, &Interrupt::default()).unwrap();
        assert_eq!(recorder.stdout(), "added none\n");
    }
}
