//! The files of sockets in the file system (`transport` is `ipc`): only their owner can use them, and they are removed
//! when the kernel ends.

use jupyter_protocol::ConnectionInfo;
use jupyter_protocol::connection_info::Transport;
use nix::sys::stat::{Mode, umask};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

/// The files of a kernel's sockets; none if it uses TCP. They are removed when this is dropped.
pub struct SocketFiles {
    paths: Vec<PathBuf>,
    /// The `umask` to restore once the sockets are bound.
    usual: Option<Mode>,
}

impl SocketFiles {
    /// Changes the `umask` until [`SocketFiles::made`] is called, so that only the owner can use files that are
    /// created. Removes the sockets of a kernel that was killed.
    pub fn of(info: &ConnectionInfo) -> Self {
        if info.transport != Transport::IPC {
            return Self { paths: vec![], usual: None };
        }
        let ports = [info.iopub_port, info.shell_port, info.control_port, info.stdin_port, info.hb_port];
        // The paths are made absolute, because `%cd` changes the folder of the kernel.
        let path = |port: u16| std::path::absolute(format!("{}-{port}", info.ip)).ok();
        let paths = ports.into_iter().filter_map(path).collect();
        let files = Self { paths, usual: Some(umask(Mode::from_bits_truncate(0o177))) };
        files.remove();
        files
    }

    /// Waits until the files of all sockets exist, and restores the `umask`.
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
