//! Runs the commands and programs of a cell. Their output is shown as it is printed, and an interrupt ends the whole
//! process group.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::{Interrupt, Output, Stream};
use crate::process::ProcessError;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tunebook_pool::Environment;

/// While nothing is printed, the interrupt and the end of the process are checked this often.
const TICK: Duration = Duration::from_millis(5);
/// After an interrupt, a process has this long to end by itself. Then it is killed.
const PATIENCE: Duration = Duration::from_millis(600);
/// Output that arrives within this time after the end of a process still belongs to it. Later output comes from
/// processes that it left in the background.
const LINGER: Duration = Duration::from_millis(100);
/// How many pieces of output can wait to be shown. A process that prints faster than that is blocked until they are
/// shown.
const WAITING: usize = 16;

/// The process groups that commands left running (`!server &`); they are killed when the kernel ends.
static BACKGROUND: Mutex<Vec<Pid>> = Mutex::new(vec![]);

/// Runs the command of a `!` line with `sh -c`, until it ends or is interrupted. An exit status other than 0 is an
/// error.
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

/// Kills the processes that commands left running. The kernel calls this when it shuts down.
pub fn end_background() {
    if let Ok(mut groups) = BACKGROUND.lock() {
        for group in groups.drain(..) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// How a process ended, in words that follow its name: `ended with exit status 3`.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(Ok(signal))) => format!("was ended by the signal {signal}"),
        _ => format!("ended ({status})"),
    }
}

/// Runs a process in a process group of its own, with `input` on its standard input, and shows its output as it is
/// printed. An interrupt is passed on to the whole group, which is killed if it does not end by itself.
pub(crate) fn stream(
    mut command: Command,
    input: Option<String>,
    output: &dyn Output,
    interrupt: &Interrupt,
) -> std::result::Result<ExitStatus, ProcessError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(ProcessError::Io)?;
    let group = Pid::from_raw(child.id() as i32);
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // This takes a thread of its own, because the process may print much before it reads, or may end without
        // reading.
        std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    }
    let pieces = pieces_of(&mut child);
    let mut printer = Printer { output, stdout: Text::default(), stderr: Text::default() };
    let (mut open, mut ended, mut interrupted) = (true, None, None);
    loop {
        let quiet = match pieces.recv_timeout(TICK) {
            Ok((stream, piece)) => {
                printer.print(stream, &piece);
                false
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => {
                // A process may close its output and still run.
                if !open {
                    std::thread::sleep(TICK);
                }
                open = false;
                true
            }
        };
        if ended.is_none() {
            ended = child.try_wait().map_err(ProcessError::Io)?.map(|status| (status, Instant::now()));
        }
        if interrupted.is_none() && interrupt.is_raised() {
            let _ = killpg(group, Signal::SIGINT);
            interrupted = Some(Instant::now());
        }
        if let Some(at) = interrupted {
            if at.elapsed() > PATIENCE || (ended.is_some() && killpg(group, None).is_err()) {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                while let Ok((stream, piece)) = pieces.recv_timeout(TICK) {
                    printer.print(stream, &piece);
                    if at.elapsed() > 2 * PATIENCE {
                        break;
                    }
                }
                printer.end();
                return Err(ProcessError::Interrupted);
            }
        } else if let Some((status, at)) = ended
            && (!open || (quiet && at.elapsed() > LINGER))
        {
            printer.end();
            remember(group);
            return Ok(status);
        }
    }
}

/// Remembers a process group if some of its processes still run, and forgets the groups that have ended since.
fn remember(group: Pid) {
    if let Ok(mut groups) = BACKGROUND.lock() {
        groups.push(group);
        groups.retain(|group| killpg(*group, None).is_ok());
    }
}

/// The output of a process, in pieces as they are read. The channel is disconnected when both streams are closed.
fn pieces_of(child: &mut Child) -> Receiver<(Stream, Vec<u8>)> {
    let (sender, pieces) = bounded(WAITING);
    let forward = |pipe: Option<Box<dyn Read + Send>>, stream: Stream| {
        let Some(mut pipe) = pipe else { return };
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                // Nobody receives the output of a process in the background. It is read all the same, since the process
                // would be blocked or ended by SIGPIPE otherwise.
                let _ = sender.send((stream, buffer[..count].to_vec()));
            }
        });
    };
    forward(child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>), Stream::Stdout);
    forward(child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>), Stream::Stderr);
    pieces
}

/// Shows pieces of output as text.
struct Printer<'a> {
    output: &'a dyn Output,
    stdout: Text,
    stderr: Text,
}

impl Printer<'_> {
    fn print(&mut self, stream: Stream, piece: &[u8]) {
        let text = match stream {
            Stream::Stdout => self.stdout.take(piece),
            Stream::Stderr => self.stderr.take(piece),
        };
        if !text.is_empty() {
            self.output.print(stream, &text);
        }
    }

    /// Shows the incomplete characters at the end of both streams, whose other bytes will not come.
    fn end(&mut self) {
        for (stream, text) in [(Stream::Stdout, self.stdout.end()), (Stream::Stderr, self.stderr.end())] {
            if !text.is_empty() {
                self.output.print(stream, &text);
            }
        }
    }
}

/// Decodes UTF-8 that arrives in pieces. The first bytes of a character that is cut in two wait for the others.
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

    fn shell(command: &str) -> (Result<()>, FakeHost) {
        let recorder = FakeHost::without_session();
        (run(command, &recorder, &Interrupt::default()), recorder)
    }

    /// Raises an interrupt as soon as something was printed.
    fn interrupted(command: &str) -> (Result<()>, FakeHost, Duration) {
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

    fn is_running(pid: &str) -> bool {
        // A zombie (state Z) has ended; only its parent has not waited for it yet.
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
        assert_eq!((recorder.stdout().as_str(), recorder.stderr().as_str()), ("out\npartial", "err\n"));
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
    fn characters_cut_in_two_are_joined_and_invalid_bytes_are_replaced() {
        let (_, recorder) = shell(r"printf 'a\342\202'; sleep 0.2; printf '\254b'");
        assert_eq!(recorder.stdout(), "a€b");
        let (_, recorder) = shell(r"printf '\377x\342'; sleep 0.2; printf '\202\254\342'");
        assert_eq!(recorder.stdout(), "\u{fffd}x€\u{fffd}");
    }

    #[test]
    fn no_line_of_much_output_is_lost() {
        let (result, recorder) = shell("seq 1 200000");
        result.unwrap();
        let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(recorder.stdout(), expected);
    }

    #[test]
    fn an_interrupt_ends_the_whole_process_group() {
        // The process in the background ignores SIGINT, so only the SIGKILL to its group ends it.
        let (result, recorder, took) = interrupted("sh -c 'trap \"\" INT; echo $$; sleep 60' & wait");
        assert_eq!(result.unwrap_err().name.as_str(), "Interrupted");
        assert!(took < 4 * PATIENCE, "{took:?}");
        assert!(!is_running(&recorder.stdout()));
    }

    #[test]
    fn an_interrupted_program_can_end_by_itself() {
        let (result, recorder, _) =
            interrupted("trap 'echo saved; exit' INT; echo started; while :; do sleep 0.01; done");
        assert_eq!(result.unwrap_err().name.as_str(), "Interrupted");
        assert_eq!(recorder.stdout(), "started\nsaved\n");
    }

    #[test]
    fn a_process_in_the_background_goes_on_until_the_kernel_ends() {
        let started = Instant::now();
        let (result, recorder) = shell("sleep 60 & echo $!");
        result.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "the command waited for what runs in the background");
        let pid = recorder.stdout();
        assert!(is_running(&pid));
        end_background();
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_running(&pid) && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
        assert!(!is_running(&pid));
    }

    #[test]
    fn commands_see_the_environment_of_the_session() {
        let recorder = FakeHost::default();
        recorder.set("TUNEBOOK_SHELL_TEST", Some("added"));
        recorder.set("HOME", None);
        run("echo $TUNEBOOK_SHELL_TEST ${HOME-none}", &recorder, &Interrupt::default()).unwrap();
        assert_eq!(recorder.stdout(), "added none\n");
    }
}
