//! The pipes between the kernel and the process that runs cells (the runner): the standard input, output and error of
//! cells, and the answers to questions that cells ask the kernel.
//!
//! Standard output also carries messages of our own code in the runner (`tunebook::display`, the end of a cell), so
//! that they keep their place in the text. A message is the byte 1, a secret of this kernel, a space, and JSON to the
//! end of the line; a program cannot print that by accident.

use command_fds::{CommandFdExt, FdMapping};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

/// The environment variable of cells that holds the secret.
pub(super) const TOKEN: &str = "TUNEBOOK_CELL_TOKEN";
/// The environment variable of cells that holds the file descriptor of answers.
const REPLIES: &str = "TUNEBOOK_CELL_REPLIES";
/// The environment variable of cells that holds the file descriptor of standard error, for the macros of cells.
const STDERR: &str = "TUNEBOOK_CELL_STDERR";
/// The kind of the message that marks the end of a cell, on standard output and on standard error.
pub const END: &str = "end";

/// The first file descriptor for these pipes in the supervisor and in the runner. Programs get lower numbers when they
/// open files.
const FIRST: i32 = 200;
pub(super) const USER_STDIN: i32 = FIRST;
pub(super) const USER_STDOUT: i32 = FIRST + 1;
pub(super) const USER_STDERR: i32 = FIRST + 2;
const REPLIES_FD: i32 = FIRST + 3;
/// The runner reads the commands of evcxr here.
pub(super) const COMMANDS: i32 = FIRST + 4;
/// The runner reports to evcxr here.
pub(super) const REPORTS: i32 = FIRST + 5;
/// All file descriptors of these pipes.
pub(super) const ALL: std::ops::RangeInclusive<i32> = FIRST..=REPORTS;

/// The kernel's ends of the pipes.
pub struct Channels {
    /// Standard output of cells, to read.
    pub stdout: File,
    /// Standard error of cells, to read.
    pub stderr: File,
    /// Standard input of cells, to write.
    pub stdin: File,
    /// Standard input of cells, to read.
    pub stdin_reader: File,
    /// The answers to questions of cells, to write.
    pub replies: File,
    /// The bytes that begin each message: the byte 1, the secret, a space.
    pub mark: Vec<u8>,
}

impl Channels {
    /// Creates the pipes, and has the command that starts supervisors pass on their other ends.
    pub fn attach(command: &mut Command) -> io::Result<Self> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let pipe = || io::pipe().map(|(read, write)| (OwnedFd::from(read), OwnedFd::from(write)));
        let ((stdin_read, stdin), (stdout, stdout_write)) = (pipe()?, pipe()?);
        let ((stderr, stderr_write), (replies_read, replies)) = (pipe()?, pipe()?);
        let stdin_reader = stdin_read.try_clone()?;
        let mapping = |parent_fd, child_fd| FdMapping { parent_fd, child_fd };
        let mappings = vec![
            mapping(stdin_read, USER_STDIN),
            mapping(stdout_write, USER_STDOUT),
            mapping(stderr_write, USER_STDERR),
            mapping(replies_read, REPLIES_FD),
        ];
        command.fd_mappings(mappings).map_err(|error| io::Error::other(error.to_string()))?;
        command.env(TOKEN, &token).env(REPLIES, REPLIES_FD.to_string()).env(STDERR, USER_STDERR.to_string());
        let mark = format!("\u{1}{token} ").into_bytes();
        let [stdout, stderr, stdin, stdin_reader, replies] =
            [stdout, stderr, stdin, stdin_reader, replies].map(File::from);
        Ok(Self { stdout, stderr, stdin, stdin_reader, replies, mark })
    }
}

/// Opens a file descriptor of this process once more, as a file that can be closed on its own.
pub(super) fn opened(descriptor: i32, write: bool) -> io::Result<File> {
    File::options().read(!write).write(write).open(PathBuf::from(format!("/dev/fd/{descriptor}")))
}

/// The bytes that begin a message, in the process of cells.
pub(super) fn mark() -> Vec<u8> {
    format!("\u{1}{} ", std::env::var(TOKEN).unwrap_or_default()).into_bytes()
}
