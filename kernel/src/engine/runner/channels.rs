//! The pipes between the kernel and the process of its cells: the user's standard input, output and error, and the answers to
//! what a cell asks the kernel.
//!
//! Standard output also carries messages of the kernel's own making (`tunebook::display`, the end of a cell), so that their
//! order among the text holds: a byte 1, a secret of this kernel, a space, JSON on one line. Nobody prints that by accident.

use command_fds::{CommandFdExt, FdMapping};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

/// The secret, in the environment of cells.
pub(super) const TOKEN: &str = "TUNEBOOK_CELL_TOKEN";
/// The descriptor of answers, in the environment of cells.
const REPLIES: &str = "TUNEBOOK_CELL_REPLIES";
/// The message at the end of a cell, on standard output and on standard error.
pub const END: &str = "end";

/// Descriptors in supervisor and runner, away from those that a program gets by itself.
const FIRST: i32 = 200;
pub(super) const USER_STDIN: i32 = FIRST;
pub(super) const USER_STDOUT: i32 = FIRST + 1;
pub(super) const USER_STDERR: i32 = FIRST + 2;
const REPLIES_FD: i32 = FIRST + 3;
/// evcxr's commands, in the runner.
pub(super) const COMMANDS: i32 = FIRST + 4;
/// What the runner says to evcxr.
pub(super) const REPORTS: i32 = FIRST + 5;
/// All of them.
pub(super) const ALL: std::ops::RangeInclusive<i32> = FIRST..=REPORTS;

/// The kernel's ends.
pub struct Channels {
    /// What cells print.
    pub stdout: File,
    /// What cells print to standard error.
    pub stderr: File,
    /// What cells read.
    pub stdin: File,
    /// Answers to questions of cells.
    pub replies: File,
    /// Begins each message: byte 1, the secret, a space.
    pub mark: Vec<u8>,
}

impl Channels {
    /// Makes the pipes and hands the other ends to the command that starts supervisors.
    pub fn attach(command: &mut Command) -> io::Result<Self> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let pipe = || io::pipe().map(|(read, write)| (OwnedFd::from(read), OwnedFd::from(write)));
        let ((stdin_read, stdin), (stdout, stdout_write)) = (pipe()?, pipe()?);
        let ((stderr, stderr_write), (replies_read, replies)) = (pipe()?, pipe()?);
        let mapping = |parent_fd, child_fd| FdMapping { parent_fd, child_fd };
        let mappings = vec![
            mapping(stdin_read, USER_STDIN),
            mapping(stdout_write, USER_STDOUT),
            mapping(stderr_write, USER_STDERR),
            mapping(replies_read, REPLIES_FD),
        ];
        command.fd_mappings(mappings).map_err(|error| io::Error::other(error.to_string()))?;
        command.env(TOKEN, &token).env(REPLIES, REPLIES_FD.to_string());
        let mark = format!("\u{1}{token} ").into_bytes();
        let [stdout, stderr, stdin, replies] = [stdout, stderr, stdin, replies].map(File::from);
        Ok(Self { stdout, stderr, stdin, replies, mark })
    }
}

/// A descriptor of this process as a file of its own.
pub(super) fn opened(descriptor: i32, write: bool) -> io::Result<File> {
    File::options().read(!write).write(write).open(PathBuf::from(format!("/dev/fd/{descriptor}")))
}

/// What begins a message of the kernel's own making, in its cells.
pub(super) fn mark() -> Vec<u8> {
    format!("\u{1}{} ", std::env::var(TOKEN).unwrap_or_default()).into_bytes()
}
