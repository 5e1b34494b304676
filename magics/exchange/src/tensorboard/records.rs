//! Event files: a sequence of records, each with the length of its data and checksums (TFRecord).

use super::messages::{Event, What};
use prost::Message;
use std::io::{Result, Write};

/// Writes events to a file.
pub struct EventFile<W>(W);

impl<W: Write> EventFile<W> {
    /// Begins a file: its first event names the version of the format.
    pub fn begin(writer: W, wall_time: f64) -> Result<Self> {
        let mut file = Self(writer);
        let version = What::FileVersion("brain.Event:2".into());
        file.write(&Event { wall_time, step: 0, what: Some(version) })?;
        Ok(file)
    }

    pub fn write(&mut self, event: &Event) -> Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        for part in [&length, &masked(&length).to_le_bytes()[..], &data, &masked(&data).to_le_bytes()] {
            self.0.write_all(part)?;
        }
        Ok(())
    }

    pub fn end(mut self) -> Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

/// The CRC-32C, rotated and shifted, as TFRecord stores it.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}
