//! From the bytes of a file to text that the crate `csv` splits.

use anyhow::{Result, bail};

/// What Windows-1252, the Latin-1 of most files, has in the places 0x80 to 0x9F.
const WINDOWS: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
/// How files begin that are no text, and what to do with them.
const OTHER_FORMATS: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a workbook of a spreadsheet or a zip archive; save the sheet as CSV, or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old workbook of Excel; save the sheet as CSV"),
    (
        b"PAR1",
        "a Parquet file; write it as CSV, for example with pandas: `pandas.read_parquet(…).to_csv(…, index=False)`",
    ),
    (b"\x1f\x8b", "packed with gzip; give it a name that ends in `.gz`"),
    (b"SQLite format 3", "an SQLite database; write the table as CSV"),
];

/// Decodes text: UTF-8 or UTF-16 with or without a byte order mark, otherwise Latin-1. Line ends become those that
/// `csv` counts. It fails if the file, which errors call `origin`, is no text.
pub(super) fn decoded(bytes: &[u8], origin: &str, notes: &mut Vec<String>) -> Result<String> {
    if let Some((_, format)) = OTHER_FORMATS.iter().find(|(start, _)| bytes.starts_with(start)) {
        bail!("{origin} is no text: it is {format}");
    }
    let wide = |convert: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks_exact(2).map(|pair| convert([pair[0], pair[1]]));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    let text: String = match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}').to_string(),
            Err(_) => {
                notes.push("The file is not UTF-8, so it is read as Latin-1 (Windows-1252).".into());
                let character = |byte: &u8| match byte {
                    0x80..=0x9f => WINDOWS.chars().nth(usize::from(byte - 0x80)).unwrap_or(char::REPLACEMENT_CHARACTER),
                    _ => char::from(*byte),
                };
                bytes.iter().map(character).collect()
            }
        },
    };
    if text.contains('\0') {
        bail!("{origin} is no text: it contains zero bytes; write the table as CSV");
    }
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The separator that a first line `sep=;` names, which Excel reads, and the text with an empty line in its place.
pub(super) fn without_separator_line(text: &str, separators: &[char]) -> (Option<char>, String) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let said = first.trim_matches(['"', ' ']).strip_prefix("sep=");
    match said.and_then(|said| separators.iter().find(|separator| said.chars().eq([**separator]))) {
        Some(separator) => (Some(*separator), format!("\n{rest}")),
        None => (None, text.into()),
    }
}

/// Removes the spaces between a separator and a quote: `1, "x, y"`. For `csv`, a quote begins a field only if nothing
/// stands before it. The error is the line of a quote that is never closed.
pub(super) fn without_spaces_before_quotes(text: &str, separator: char) -> Result<String, usize> {
    #[derive(PartialEq)]
    enum At {
        Start,
        Unquoted,
        Quoted,
        AfterQuote,
    }
    let mut result = String::with_capacity(text.len());
    let (mut at, mut start, mut line, mut opened) = (At::Start, 0, 1, 0);
    for c in text.chars() {
        if at == At::Start && c == '"' {
            result.truncate(start);
            opened = line;
        }
        line += usize::from(c == '\n');
        result.push(c);
        at = match (at, c) {
            (At::Start, '"') => At::Quoted,
            (At::Quoted, '"') => At::AfterQuote,
            // Two quotes inside a quoted field stand for one.
            (At::Quoted, _) | (At::AfterQuote, '"') => At::Quoted,
            (_, c) if c == separator || c == '\n' => {
                start = result.len();
                At::Start
            }
            (At::Start, ' ') => At::Start,
            (At::AfterQuote, ' ') => At::AfterQuote,
            _ => At::Unquoted,
        };
    }
    if at == At::Quoted { Err(opened) } else { Ok(result) }
}
