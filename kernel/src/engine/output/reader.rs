//! Reads standard output and standard error of the process that runs cells, in the order in which they were written, as
//! far as that can be known.
//!
//! The macros of a cell (`println!`, `eprintln!`, `dbg!` and the like) all write to standard output; text for standard
//! error stands between two messages there. Before a macro writes, it waits until nothing is left to read in standard
//! error (`evcxr_report::settled` in `kernel/evcxr`). So standard error carries only what something else has written,
//! and two rules of this thread are enough: what was found in standard error is forwarded after everything that stood
//! in standard output at that moment; and what is found there later waits for the next turn.
//!
//! What one thread writes then comes in the order in which it wrote, with one exception: text that did not come from
//! these macros (from a crate, from C, from a program that the cell started), first to standard error and at once to
//! standard output, may come in the other order.

use crossbeam_channel::Sender;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::ioctl_fionread;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

/// Starts the thread. It sends what it reads, and whether that came on standard error.
pub fn start(streams: [File; 2], sender: Sender<(bool, Vec<u8>)>) {
    std::thread::spawn(move || {
        let [mut stdout, mut stderr] = streams.map(|file| Reader { file, is_open: true });
        let mut buffer = vec![0; 64 << 10];
        while stdout.is_open || stderr.is_open {
            wait(&[&stdout, &stderr]);
            // The order matters: see above.
            let of_stderr = stderr.available();
            let of_stdout = stdout.available();
            for (stream, is_error, available) in [(&mut stdout, false, of_stdout), (&mut stderr, true, of_stderr)] {
                let mut left = available;
                while let Some(bytes) = stream.read(left, &mut buffer) {
                    left -= bytes.len();
                    if sender.send((is_error, bytes.to_vec())).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

struct Reader {
    file: File,
    is_open: bool,
}

/// Waits until one of the streams that are open has something to read or is closed.
fn wait(streams: &[&Reader]) {
    let open = streams.iter().filter(|stream| stream.is_open);
    let mut wanted: Vec<PollFd> = open.map(|stream| PollFd::new(stream.file.as_fd(), PollFlags::POLLIN)).collect();
    let _ = poll(&mut wanted, PollTimeout::NONE);
}

impl Reader {
    /// The number of bytes that can be read now.
    fn available(&mut self) -> usize {
        if !self.is_open {
            return 0;
        }
        let closed = || {
            let mut wanted = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut wanted, PollTimeout::ZERO);
            ready.is_ok() && wanted[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
        };
        match ioctl_fionread(&self.file).map(usize::try_from) {
            // A closed stream may still hold bytes that came after the count.
            Ok(Ok(0)) if closed() => self.is_open = ioctl_fionread(&self.file).is_ok_and(|count| count > 0),
            Ok(Ok(count)) => return count,
            _ => self.is_open = false,
        }
        0
    }

    /// Reads at most `limit` bytes. None if there are none.
    fn read<'a>(&mut self, limit: usize, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let size = limit.min(buffer.len());
        loop {
            match self.file.read(&mut buffer[..size]) {
                Ok(0) => return None,
                Ok(count) => return Some(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_open = false;
                    return None;
                }
            }
        }
    }
}
