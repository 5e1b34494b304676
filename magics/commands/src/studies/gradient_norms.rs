//! Reads the gradient norms of all steps, which the trainer writes as a NumPy file of one row of 32-bit numbers.

use std::path::Path;

const MAGIC_BYTES: &[u8] = b"\x93NUMPY";

/// The gradient norm of each step of a trial, from its folder. None if the trial wrote none, as a program does not.
pub fn gradient_norms(folder: &Path) -> Option<Vec<f64>> {
    numbers(&std::fs::read(folder.join("gradient_norm.npy")).ok()?)
}

/// The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
fn numbers(bytes: &[u8]) -> Option<Vec<f64>> {
    let rest = bytes.strip_prefix(MAGIC_BYTES)?;
    let (version, rest) = rest.split_at_checked(2)?;
    let length_bytes = if version[0] == 1 { 2 } else { 4 };
    let (length, rest) = rest.split_at_checked(length_bytes)?;
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (header, data) = rest.split_at_checked(length)?;
    let header = std::str::from_utf8(header).ok()?;
    if !header.contains("'<f4'") {
        return None;
    }
    let number = |four: &[u8]| f64::from(f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Some(data.chunks_exact(4).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[f32]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data.iter().flat_map(|x| x.to_le_bytes()));
        bytes
    }

    #[test]
    fn numbers_are_read_and_other_files_are_not() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n";
        assert_eq!(numbers(&file(header, &[1.0, 2.5, f32::INFINITY])), Some(vec![1.0, 2.5, f64::INFINITY]));
        assert_eq!(numbers(&file(&header.replace("<f4", "<i8"), &[1.0])), None);
        for length in 0..12 {
            assert_eq!(numbers(&file(header, &[])[..length]), None);
        }
    }
}
