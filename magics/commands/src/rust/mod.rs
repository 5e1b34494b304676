//! Tools for the Rust of cells: splitting a cell, parsing statements, finding tests, and running generated code.

mod cell_parts;
mod debug_value;
mod source_map;
mod statements;
mod tests_in;

pub use cell_parts::{CellPart, no_magic_in, split_cell};
pub use debug_value::DebugValue;
pub use source_map::SourceMap;
pub use statements::{Statement, Statements, name_of, names_of_use};
pub use tests_in::{TestFunction, tests_in};

use crate::host::{Bundle, plain};
use serde_json::json;

/// A bundle that shows Rust code.
pub fn code_bundle(code: &str) -> Bundle {
    let mut bundle = plain(code);
    bundle.insert("text/markdown".into(), json!(format!("```rust\n{code}\n```")));
    bundle
}

/// Removes the paths from the names in a type: `alloc::vec::Vec<geometry::Point>` becomes `Vec<Point>`.
pub fn short_type(kind: &str) -> String {
    let mut short = String::new();
    let mut name_at = 0;
    let mut rest = kind;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if word > 0 {
            name_at = short.len();
            short += &rest[..word];
            rest = &rest[word..];
        } else if rest.starts_with("::") && !short.ends_with('>') {
            short.truncate(name_at);
            rest = &rest[2..];
        } else {
            short.push(c);
            name_at = short.len();
            rest = &rest[c.len_utf8()..];
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_removed_from_types() {
        let cases = [
            ("i32", "i32"),
            ("alloc::vec::Vec<core::option::Option<f64>>", "Vec<Option<f64>>"),
            ("std::collections::HashMap<String, (a::B, [u8; 4])>", "HashMap<String, (B, [u8; 4])>"),
            ("Box<dyn core::ops::Fn(i32) -> a::B + 'static>", "Box<dyn Fn(i32) -> B + 'static>"),
            ("<T as a::Iterator>::Item", "<T as Iterator>::Item"),
            ("&'static str", "&'static str"),
        ];
        for (kind, short) in cases {
            assert_eq!(short_type(kind), short);
        }
    }
}
