//! What the runner says, on its way to evcxr.
//!
//! evcxr reads lines on the runner's standard output, in between what the user prints. Here its end marker gets a line of its own
//! even where the user flushed half a line before it (evcxr would wait for ever), and the kernel is told what evcxr keeps to
//! itself: that a cell panicked, that a `?` met an error, that a cell ended its process and a snapshot took over.

use super::{COMPLETE, ENDED, FAILED, PANIC, PANICKED, QUESTION_MARK};

/// The bytes of the runner on their way to evcxr.
pub(super) struct Relay {
    token: String,
    /// What a snapshot says when it takes over, followed by its process id.
    takeover: Vec<u8>,
    at_line_start: bool,
    /// The end of what came, where it may be the beginning of a marker.
    held: Vec<u8>,
}

impl Relay {
    pub fn new(token: String, takeover: String) -> Self {
        Self { token, takeover: takeover.into_bytes(), at_line_start: true, held: vec![] }
    }

    /// What came last, where it was no marker after all.
    pub fn rest(&self) -> &[u8] {
        &self.held
    }

    /// Passes on what came. `taken_over` is told the process id of a snapshot that took over, and says how the process before
    /// it ended.
    pub fn pass(&mut self, bytes: &[u8], taken_over: &mut dyn FnMut(i32) -> String) -> Vec<u8> {
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
            if let Some(line) = rest.strip_prefix(self.takeover.as_slice()) {
                let Some(length) = line.iter().position(|byte| *byte == b'\n') else {
                    self.held = rest.to_vec();
                    break;
                };
                let pid = std::str::from_utf8(&line[..length]).ok().and_then(|pid| pid.parse().ok());
                let how = pid.map_or(String::new(), &mut *taken_over);
                if !self.at_line_start {
                    out.push(b'\n');
                }
                out.extend_from_slice(format!("{}{ENDED}{how}\n", self.token).as_bytes());
                // To evcxr it is a panic: what was there before stays, what the cell defined is forgotten.
                out.extend_from_slice(PANIC);
                out.extend_from_slice(COMPLETE);
                self.at_line_start = true;
                i += self.takeover.len() + length + 1;
                continue;
            }
            if [COMPLETE, PANIC, FAILED, self.takeover.as_slice()].iter().any(|marker| marker.starts_with(rest)) {
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
        let mut relay = Relay::new("T".into(), "EVCXR_OVER_".into());
        let mut out = vec![];
        for piece in pieces {
            out.extend(relay.pass(piece.as_bytes(), &mut |pid| format!("before {pid}")));
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
    fn a_snapshot_that_takes_over_ends_the_cell() {
        let expected = "x\nT-ended before 12\nEVCXR_PANIC_NOTIFICATION\nEVCXR_EXECUTION_COMPLETE\n";
        assert_eq!(relayed(&["xEVCXR_OVER_12\n"]), expected);
        assert_eq!(relayed(&["xEVCXR_O", "VER_1", "2\n"]), expected);
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        for text in ["EVCXR", "EEE\n", "EVCXR_BEGIN_CONTENT text/plain\n1\nEVCXR_END_CONTENT\n", "ä\nEVE\n"] {
            assert_eq!(relayed(&[text, "!"]), format!("{text}!"));
        }
    }
}
