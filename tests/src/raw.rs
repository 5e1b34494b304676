//! A peer that writes the bytes of ZeroMQ's protocol (ZMTP 3) itself, so that it can send what no library sends: a part
//! of a message, wrong lengths, or nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection to a socket of the kernel.
pub struct Raw {
    pub stream: TcpStream,
    /// What was received and not read yet.
    unread: Vec<u8>,
}

impl Raw {
    /// Connects and sends nothing.
    pub fn silent(endpoint: &str) -> Self {
        let stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).expect("the kernel listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a socket");
        Self { stream, unread: vec![] }
    }

    /// Connects and completes the handshake of ZeroMQ, as a socket of a kind such as `DEALER`.
    pub fn connect(endpoint: &str, kind: &str, identity: &str) -> Self {
        let mut raw = Self::silent(endpoint);
        raw.write(&greeting()).expect("the kernel listens");
        raw.read(64, Duration::from_secs(10)).expect("a greeting");
        raw.write(&ready(kind, identity)).expect("the kernel listens");
        let header = raw.read(2, Duration::from_secs(10)).expect("READY");
        raw.read(header[1].into(), Duration::from_secs(10)).expect("READY");
        raw
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a message.
    pub fn send(&mut self, frames: &[impl AsRef<[u8]>]) -> std::io::Result<()> {
        self.write(&message(frames))
    }

    /// Reads so many bytes. None if they have not come in time.
    pub fn read(&mut self, count: usize, within: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + within;
        while self.unread.len() < count {
            self.read_more(deadline)?;
        }
        Some(self.unread.drain(..count).collect())
    }

    /// Reads the next message. None if it has not come in time; what has come of it is kept for the next call.
    pub fn receive(&mut self, within: Duration) -> Option<Vec<Vec<u8>>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some((frames, length)) = first_message(&self.unread) {
                self.unread.drain(..length);
                return Some(frames);
            }
            self.read_more(deadline)?;
        }
    }

    /// Receives some bytes. None if the connection has ended or the time is over.
    fn read_more(&mut self, deadline: Instant) -> Option<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a socket");
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => {
                    self.unread.extend(&buffer[..read]);
                    return Some(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits until the kernel ends the connection, at most for a time. Returns whether it has. What comes before is
    /// lost.
    pub fn is_ended(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut buffer = vec![0; 64 << 10];
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a socket");
            match self.stream.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return true,
            }
        }
        false
    }
}

/// The first 64 bytes of a connection: signature, version 3.0, mechanism NULL.
pub fn greeting() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, 3);
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// The command that follows the greeting.
pub fn ready(kind: &str, identity: &str) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", kind), ("Identity", identity)] {
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.as_bytes());
    }
    [&[4, body.len() as u8], body.as_slice()].concat()
}

/// The bytes of a message with these frames.
pub fn message(frames: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = vec![];
    for (i, frame) in frames.iter().enumerate() {
        let (frame, more) = (frame.as_ref(), u8::from(i + 1 < frames.len()));
        bytes.push(more | 2);
        bytes.extend((frame.len() as u64).to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// The frames of the first message in some bytes and the message's length. None if the message is not complete.
fn first_message(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut frames, mut at) = (vec![], 0);
    loop {
        let flags = bytes.get(at)?;
        let (length, header) = match flags & 2 != 0 {
            true => (u64::from_be_bytes(bytes.get(at + 1..at + 9)?.try_into().ok()?), 9),
            false => ((*bytes.get(at + 1)?).into(), 2),
        };
        at += header;
        frames.push(bytes.get(at..at.checked_add(usize::try_from(length).ok()?)?)?.to_vec());
        at += length as usize;
        if flags & 1 == 0 {
            return Some((frames, at));
        }
    }
}
