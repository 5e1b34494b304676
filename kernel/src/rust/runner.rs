//! The process that runs the user's cells, and its supervisor.
//!
//! evcxr speaks with the runner in lines on standard output, in between what the user prints. The supervisor stands in
//! that line: it lets evcxr's end marker begin a line of its own even where the user flushed half a line before it
//! (evcxr would wait for ever), and reports a panic, which evcxr keeps to itself. When the runner dies, so does the
//! supervisor, in the same way; when the supervisor dies, so does the runner.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

/// Set for the runner itself.
const RUNNER: &str = "TUNEBOOK_RUNNER";
/// What stands behind the token after a panic.
pub const PANICKED: &str = "-panicked";
/// What stands behind the token after a `?` that met an error.
pub const QUESTION_MARK: &str = "-question-mark";
/// Begins the line that reports how a cell ended; the kernel chooses it anew each time, so that no user prints it by accident.
pub const TOKEN: &str = "TUNEBOOK_PANIC_TOKEN";

const RUNTIME: &str = "EVCXR_IS_RUNTIME";
const COMPLETE: &[u8] = b"EVCXR_EXECUTION_COMPLETE\n";
const PANIC: &[u8] = b"EVCXR_PANIC_NOTIFICATION\n";
const FAILED: &[u8] = b"EVCXR_ERROR_OCCURRED\n";

/// To be called first in `main`. Returns in the kernel and in slots; supervisors, runners and rustc wrappers end here.
pub fn hook() {
    if std::env::var_os(RUNTIME).is_some() && std::env::var_os(RUNNER).is_none() {
        let code = supervise();
        std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
    if std::env::var_os(RUNTIME).is_some() {
        // Runs cells only while somebody can see them.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    }
    evcxr::runtime_hook();
}

fn supervise() -> ExitCode {
    let Ok(executable) = std::env::current_exe() else { return ExitCode::FAILURE };
    let runner = Command::new(executable)
        .args(std::env::args_os().skip(1))
        .env(RUNNER, "1")
        // The frames of a panic are those of the machinery.
        .env("RUST_BACKTRACE", "0")
        .env_remove(TOKEN)
        // Its standard input is the supervisor's own: evcxr's commands reach it directly, and so does their end.
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut runner) = runner else { return ExitCode::FAILURE };
    let Some(mut output) = runner.stdout.take() else { return ExitCode::FAILURE };
    let mut relay = Relay { token: std::env::var(TOKEN).unwrap_or_default(), at_line_start: true, held: vec![] };
    let mut stdout = std::io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        let passed = relay.pass(&buffer[..count]);
        if stdout.write_all(&passed).and_then(|()| stdout.flush()).is_err() {
            break;
        }
    }
    let _ = stdout.write_all(&relay.held).and_then(|()| stdout.flush());
    let status = runner.wait();
    if let Ok(Some(signal)) = status.as_ref().map(|status| status.signal()) {
        // End as the runner did, so that evcxr reports it as it was.
        if let Ok(signal) = nix::sys::signal::Signal::try_from(signal) {
            let _ = nix::sys::signal::raise(signal);
        }
    }
    std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1))
}

/// The bytes of the runner on their way to evcxr.
struct Relay {
    token: String,
    at_line_start: bool,
    /// The end of what came, where it may be the beginning of a marker.
    held: Vec<u8>,
}

impl Relay {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let input = [std::mem::take(&mut self.held), bytes.to_vec()].concat();
        let (mut out, mut i) = (Vec::with_capacity(input.len() + 64), 0);
        while i < input.len() {
            let rest = &input[i..];
            // Markers begin with E: between two of them there is nothing to look for.
            if rest[0] != b'E' {
                let plain = rest.iter().position(|byte| *byte == b'E').unwrap_or(rest.len());
                out.extend_from_slice(&rest[..plain]);
                self.at_line_start = rest[plain - 1] == b'\n';
                i += plain;
                continue;
            }
            if rest.starts_with(COMPLETE) {
                if !self.at_line_start {
                    out.push(b'\n');
                }
                out.extend_from_slice(COMPLETE);
                self.at_line_start = true;
                i += COMPLETE.len();
                continue;
            }
            let markers = [(PANIC, PANICKED), (FAILED, QUESTION_MARK)];
            if let Some((marker, what)) = markers.into_iter().find(|(marker, _)| rest.starts_with(marker)) {
                if !self.at_line_start {
                    out.push(b'\n');
                }
                out.extend_from_slice(format!("{}{what}\n", self.token).as_bytes());
                out.extend_from_slice(marker);
                self.at_line_start = true;
                i += marker.len();
                continue;
            }
            if [COMPLETE, PANIC, FAILED].iter().any(|marker| marker.starts_with(rest)) {
                self.held = rest.to_vec();
                break;
            }
            out.push(b'E');
            self.at_line_start = false;
            i += 1;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(pieces: &[&str]) -> String {
        let mut relay = Relay { token: "T".into(), at_line_start: true, held: vec![] };
        let mut out = vec![];
        for piece in pieces {
            out.extend(relay.pass(piece.as_bytes()));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_flushed_half_line_does_not_hide_the_end() {
        assert_eq!(relayed(&["abc", "EVCXR_EXECUTION_COMPLETE\n"]), "abc\nEVCXR_EXECUTION_COMPLETE\n");
        assert_eq!(relayed(&["abc\nEVCXR_EXEC", "UTION_COMPLETE\n"]), "abc\nEVCXR_EXECUTION_COMPLETE\n");
    }

    #[test]
    fn a_panic_is_reported_beside_evcxrs_own_marker() {
        assert_eq!(relayed(&["xEVCXR_PANIC_NOTIFICATION\n"]), "x\nT-panicked\nEVCXR_PANIC_NOTIFICATION\n");
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        for text in ["EVCXR", "EEE\n", "EVCXR_BEGIN_CONTENT text/plain\n1\nEVCXR_END_CONTENT\n", "ä\nEVE\n"] {
            assert_eq!(relayed(&[text, "!"]), format!("{text}!"));
        }
    }
}
