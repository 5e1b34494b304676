//! Files and folders that only their owner can read, and the kind of file system that they are on.

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{AccessFlags, access};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Creates a folder and its parents. Those that it creates can be used by their owner only.
pub fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Creates a file that only its owner can read and write, unless there is one. An error if the file cannot be written.
///
/// SQLite gives the files that it creates beside a database the mode of the database, so this makes those private too.
///
/// A file that is there is not opened: POSIX ends all locks that a process holds on a file, also those of open SQLite
/// connections, as soon as the process closes any descriptor of it. For the same reason a new file is made by `mknod`,
/// which leaves no descriptor to close.
pub fn create_private_file(path: &Path) -> std::io::Result<()> {
    if !path.exists() && mknod(path, SFlag::S_IFREG, Mode::S_IRUSR | Mode::S_IWUSR, 0).is_ok() {
        return Ok(());
    }
    if path.exists() {
        return access(path, AccessFlags::W_OK).map_err(Into::into);
    }
    // The path is a link to a file that does not exist, or this file system cannot do `mknod`.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Whether a file is on a file system of another machine. SQLite's WAL mode needs memory that all its users share,
/// which machines cannot do over a network.
pub fn on_network_file_system(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        // The magic numbers of NFS, SMB, CIFS, SMB 2, FUSE (sshfs and others) and Lustre.
        const NETWORK: [i64; 6] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0bd0_0bd0];
        nix::sys::statfs::statfs(path).is_ok_and(|stats| NETWORK.contains(&stats.filesystem_type().0))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}
