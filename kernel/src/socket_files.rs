//! Sockets in the file system (`transport` is `ipc`): for their owner only, and gone when the kernel is.

use jupyter_protocol::ConnectionInfo;
use jupyter_protocol::connection_info::Transport;
use nix::sys::stat::{Mode, umask};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

/// The files of a kernel's sockets; none where it speaks over TCP. They are removed at the end of this.
pub struct SocketFiles {
    paths: Vec<PathBuf>,
    /// What new files are allowed otherwise, while sockets are being made.
    usual: Option<Mode>,
}

impl SocketFiles {
    /// From here on until [`SocketFiles::made`] new files are for their owner only. A kernel that was killed leaves its
    /// sockets behind; they make way.
    pub fn of(info: &ConnectionInfo) -> Self {
        if info.transport != Transport::IPC {
            return Self { paths: vec![], usual: None };
        }
        let ports = [info.iopub_port, info.shell_port, info.control_port, info.stdin_port, info.hb_port];
        // Absolute, since the kernel may be in another folder at its end.
        let path = |port: u16| std::path::absolute(format!("{}-{port}", info.ip)).ok();
        let paths = ports.into_iter().filter_map(path).collect();
        let files = Self { paths, usual: Some(umask(Mode::from_bits_truncate(0o177))) };
        files.remove();
        files
    }

    /// Waits until all sockets are there.
    pub async fn made(&mut self) {
        for _ in 0..1000 {
            if self.paths.iter().all(|path| path.exists()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let Some(usual) = self.usual.take() {
            umask(usual);
        }
    }

    fn remove(&self) {
        for path in &self.paths {
            if path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket()) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        self.remove();
    }
}
