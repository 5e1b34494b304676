// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

/// Paths under which the standard library defines types, and paths by which code can name them.
const PUBLIC: &[(&str, &str)] = &[
    ("alloc::borrow::Cow", "std::borrow::Cow"),
    ("alloc::boxed::Box", "Box"),
    (
        "alloc::collections::binary_heap::BinaryHeap",
        "std::collections::BinaryHeap",
    ),
    (
        "alloc::collections::btree::map::BTreeMap",
        "std::collections::BTreeMap",
    ),
    (
        "alloc::collections::btree::set::BTreeSet",
        "std::collections::BTreeSet",
    ),
    (
        "alloc::collections::linked_list::LinkedList",
        "std::collections::LinkedList",
    ),
    (
        "alloc::collections::vec_deque::VecDeque",
        "std::collections::VecDeque",
    ),
    ("alloc::rc::Rc", "std::rc::Rc"),
    ("alloc::string::String", "String"),
    ("alloc::sync::Arc", "std::sync::Arc"),
    ("alloc::vec::Vec", "Vec"),
    ("core::cell::Cell", "std::cell::Cell"),
    ("core::cell::RefCell", "std::cell::RefCell"),
    ("core::ops::range::Range", "std::ops::Range"),
    ("core::option::Option", "Option"),
    ("core::result::Result", "Result"),
    ("core::time::Duration", "std::time::Duration"),
    (
        "std::collections::hash::map::HashMap",
        "std::collections::HashMap",
    ),
    (
        "std::collections::hash::set::HashSet",
        "std::collections::HashSet",
    ),
    ("std::path::PathBuf", "std::path::PathBuf"),
    ("std::sync::poison::mutex::Mutex", "std::sync::Mutex"),
    ("std::sync::poison::rwlock::RwLock", "std::sync::RwLock"),
    ("std::time::Instant", "std::time::Instant"),
    ("std::time::SystemTime", "std::time::SystemTime"),
];

const PRIMITIVE: &[&str] = &[
    "bool", "char", "str", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16",
    "u32", "u64", "u128", "usize", "mut", "const", "fn",
];

/// Returns code that names the type for which `std::any::type_name` returned `type_name`, or None if
/// it is not certain that the code would name the same type. `is_own` returns whether a name is that
/// of a type that cells defined at their top level.
pub(crate) fn as_code(type_name: &str, is_own: impl Fn(&str) -> bool) -> Option<String> {
    as_code_with(type_name, is_own, |_| None)
}

/// The same, with a function that finds the path by which code can name a type, and how many lifetimes
/// the type has, from the path of its definition.
pub(crate) fn as_code_with(
    type_name: &str,
    is_own: impl Fn(&str) -> bool,
    public_path: impl Fn(&str) -> Option<(String, usize)>,
) -> Option<String> {
    let mut out = String::new();
    let mut rest = type_name;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        if first.is_numeric() {
            let end = rest
                .find(|c: char| !c.is_alphanumeric())
                .unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if is_word(first) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let path = &rest[..end];
            rest = &rest[end..];
            if let Some(code) = path_as_code(path, &is_own) {
                out.push_str(&code);
                continue;
            }
            // The name may leave out lifetimes. A value that is kept has borrowed nothing shorter.
            let (code, lifetimes) = public_path(path)?;
            out.push_str(&code);
            let lifetimes = vec!["'static"; lifetimes].join(", ");
            match rest.strip_prefix('<') {
                _ if lifetimes.is_empty() => {}
                Some(parameters) if parameters.starts_with('\'') => {}
                Some(parameters) => {
                    out.push_str(&format!("<{lifetimes}, "));
                    rest = parameters;
                }
                None => out.push_str(&format!("<{lifetimes}>")),
            }
        } else if first == '\'' {
            let end = rest[1..]
                .find(|c: char| !is_word(c))
                .map_or(rest.len(), |end| 1 + end);
            out.push_str("'static");
            rest = &rest[end..];
        } else if "<>()[]&*,; ->".contains(first) {
            out.push(first);
            if first == '&' {
                out.push_str("'static ");
            }
            rest = &rest[first.len_utf8()..];
        } else {
            return None;
        }
    }
    Some(out)
}

fn path_as_code(path: &str, is_own: impl Fn(&str) -> bool) -> Option<String> {
    if PRIMITIVE.contains(&path) {
        return Some(path.to_owned());
    }
    if let Some((_, public)) = PUBLIC.iter().find(|(private, _)| *private == path) {
        return Some((*public).to_owned());
    }
    let own = path.strip_prefix("ctx::")?;
    (!own.contains(':') && is_own(own)).then(|| own.to_owned())
}

#[cfg(test)]
mod test {
    use super::as_code;
    use super::as_code_with;

    #[test]
    fn types_of_crates_have_the_names_that_are_found_for_them() {
        let public_path = |path: &str| match path {
            "grid::base::matrix::Matrix" => Some(("grid::Matrix".to_owned(), 0)),
            "grid::base::view::View" => Some(("grid::View".to_owned(), 1)),
            _ => None,
        };
        let named = |name| as_code_with(name, |_| false, public_path);
        for (at_run_time, code) in [
            (
                "grid::base::matrix::Matrix<f64, 2, 3>",
                "grid::Matrix<f64, 2, 3>",
            ),
            (
                "alloc::vec::Vec<grid::base::view::View>",
                "Vec<grid::View<'static>>",
            ),
            (
                "alloc::vec::Vec<grid::base::view::View<'_, alloc::borrow::Cow<'_, str>>>",
                "Vec<grid::View<'static, std::borrow::Cow<'static, str>>>",
            ),
            (
                "grid::base::view::View<grid::base::matrix::Matrix<i8, 1, 1>>",
                "grid::View<'static, grid::Matrix<i8, 1, 1>>",
            ),
        ] {
            assert_eq!(named(at_run_time).as_deref(), Some(code));
        }
        assert_eq!(named("grid::base::Hidden<i32>"), None);
    }

    #[test]
    fn types_of_the_standard_library_and_of_cells_have_names() {
        let named = |name| as_code(name, |own| own == "Pair");
        for (at_run_time, code) in [
            ("i32", "i32"),
            ("alloc::vec::Vec<alloc::string::String>", "Vec<String>"),
            ("(i32, &str, [f64; 3])", "(i32, &'static str, [f64; 3])"),
            (
                "std::collections::hash::map::HashMap<alloc::string::String, core::option::Option<ctx::Pair>>",
                "std::collections::HashMap<String, Option<Pair>>",
            ),
            ("fn(i32) -> i32", "fn(i32) -> i32"),
            ("()", "()"),
        ] {
            assert_eq!(named(at_run_time).as_deref(), Some(code));
        }
        for other in [
            "ctx::twice",
            "ctx::run_user_code_1::{{closure}}",
            "dyn core::fmt::Debug",
            "rand::rngs::Thread",
            "ctx::a::Pair",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
