//! Replaces the colours of the crate `ariadne` by those that a notebook can adapt to a light or a dark page.

/// Replaces the fixed greys of a report, which are hard to read on a light or on a dark page. It also sets a colour
/// only where it changes, while ariadne sets it for each character.
pub fn page_colors(drawn: &[u8]) -> String {
    let drawn = String::from_utf8_lossy(drawn);
    let drawn = drawn.replace("\x1b[38;5;249m", PLAIN).replace("\x1b[38;5;115m", "\x1b[36m");
    coalesced(&drawn.replace("\x1b[38;5;246m", "\x1b[34m").replace("\x1b[38;5;240m", "\x1b[34m"))
}

/// The escape sequence that resets the colour.
const PLAIN: &str = "\x1b[0m";

/// Removes the escape sequences that do not change the colour of any character.
fn coalesced(text: &str) -> String {
    let (mut out, mut current, mut wanted) = (String::new(), PLAIN, PLAIN);
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(end) = rest.strip_prefix("\x1b[").and_then(|rest| rest.find('m')) {
            (wanted, rest) = rest.split_at(end + 3);
            continue;
        }
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == '\x1b').map_or(rest.len(), |(at, _)| at);
        if wanted != current {
            out += wanted;
            current = wanted;
        }
        out += &rest[..end];
        rest = &rest[end..];
    }
    if current != PLAIN { out + PLAIN } else { out }
}

#[cfg(test)]
mod tests {
    use super::page_colors;

    #[test]
    fn greys_are_replaced_and_colours_are_set_once() {
        let drawn =
            "\x1b[38;5;246m1\x1b[0m \x1b[38;5;249mä\x1b[0m\x1b[31mb\x1b[0m\x1b[31mc\x1b[0m\x1b[38;5;115mHelp\x1b[0m";
        let expected = "\x1b[34m1\x1b[0m ä\x1b[31mbc\x1b[36mHelp\x1b[0m";
        assert_eq!(page_colors(drawn.as_bytes()), expected);
        assert_eq!(page_colors(b"plain"), "plain");
    }
}
