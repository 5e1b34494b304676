//! Which room of a crate imports which, read from the crate's sources.
//!
//! An import is any path from the root of the crate, in a `use` or anywhere in the code: `crate::a::b`,
//! `crate::{a::b, c}`, and `super::…` as far as it leads to the root. A path to something that lib.rs re-exports is an
//! import of the room that defines it. Comments and strings are no code, and what is compiled only in tests
//! (`#[cfg(test)]`) does not count.
//!
//! A top-level module may be a *house*: each of its own modules is a room, such as `commands::sweep`, and what the
//! house itself defines is a room of its name.

use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, NodeOrToken, SourceFile, SyntaxKind, SyntaxNode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The name of the root module among the rooms.
pub const LIB: &str = "lib.rs";

/// One room imports something of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub from: String,
    pub to: String,
    /// The file and the line, such as `sweep/plan.rs:7`.
    pub place: String,
}

/// The text of each file of a crate by its path in `src`.
#[derive(Default)]
pub struct Sources(pub BTreeMap<String, String>);

impl Sources {
    /// Reads all Rust files below a folder.
    pub fn read(folder: &Path) -> Self {
        let (mut sources, mut open) = (Self::default(), vec![folder.to_path_buf()]);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).expect("a path below the folder").to_string_lossy();
                sources.0.insert(name.into_owned(), std::fs::read_to_string(&path).expect("a Rust file"));
            }
        }
        sources
    }
}

/// Finds the imports between rooms. lib.rs, and a house, import every room that they declare.
///
/// Panics if a declared module has no file.
pub fn imports(sources: &Sources, houses: &[&str]) -> Vec<Import> {
    let mut reading = Reading { sources, tokens: vec![], modules: vec![], exports: BTreeMap::new() };
    reading.file("lib.rs", &[]);
    let Reading { tokens, modules, exports, .. } = reading;
    let declared: BTreeSet<&[String]> = modules.iter().map(|module| module.path.as_slice()).collect();
    // The room of something by its path from the root of the crate.
    let room = |path: &[String]| match path {
        [house, inner, ..] if houses.contains(&house.as_str()) && declared.contains(&path[..2]) => {
            format!("{house}::{inner}")
        }
        [first, ..] if declared.contains(&path[..1]) => first.clone(),
        [first, ..] => exports.get(first).cloned().unwrap_or_else(|| LIB.into()),
        [] => LIB.into(),
    };
    let mut imports: Vec<Import> = vec![];
    for module in &modules {
        let (from, to) = match module.path.as_slice() {
            [_] => (LIB.to_string(), room(&module.path)),
            [house, _] if houses.contains(&house.as_str()) => (house.clone(), room(&module.path)),
            _ => continue,
        };
        imports.push(Import { from, to, place: module.place.clone() });
    }
    for (path, place, module) in absolute_paths(&tokens) {
        let (from, to) = (room(module), room(&path));
        if from != LIB && from != to {
            imports.push(Import { from, to, place: place.into() });
        }
    }
    imports
}

/// A token of code, without comments and white space.
struct Token {
    text: String,
    /// The module that it stands in. The root is empty.
    module: Vec<String>,
    place: String,
}

/// The declaration of a module.
struct Module {
    path: Vec<String>,
    place: String,
}

/// What was read so far.
struct Reading<'a> {
    sources: &'a Sources,
    tokens: Vec<Token>,
    modules: Vec<Module>,
    /// What can be named at the root of the crate beside the rooms, with the room that it comes from: re-exports of
    /// lib.rs and exported macros.
    exports: BTreeMap<String, String>,
}

/// The file of a module while it is read.
struct File<'a> {
    name: &'a str,
    module: &'a [String],
    /// The folder of its child modules, with a `/` at the end unless it is empty.
    children: String,
    /// The position of each end of a line.
    line_ends: Vec<usize>,
}

impl File<'_> {
    fn place(&self, position: usize) -> String {
        format!("{}:{}", self.name, 1 + self.line_ends.partition_point(|end| *end < position))
    }
}

impl Reading<'_> {
    fn file(&mut self, name: &str, module: &[String]) {
        let text = &self.sources.0[name];
        let (folder, own) = name.rsplit_once('/').map_or(("", name), |(folder, own)| (&name[..=folder.len()], own));
        let children = match own {
            "lib.rs" | "mod.rs" => folder.to_string(),
            _ => format!("{}/", name.trim_end_matches(".rs")),
        };
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        let tree = SourceFile::parse(text, Edition::Edition2024).tree();
        self.node(tree.syntax(), &File { name, module, children, line_ends }, module);
    }

    fn node(&mut self, node: &SyntaxNode, file: &File<'_>, module: &[String]) {
        let attributes: Vec<String> = node.children().filter_map(ast::Attr::cast).map(|a| without_space(&a)).collect();
        // A visibility such as `pub(in crate::a)` imports nothing.
        if attributes.iter().any(|attribute| is_for_tests(attribute)) || node.kind() == SyntaxKind::VISIBILITY {
            return;
        }
        let mut own_module = None;
        if let Some(declared) = ast::Module::cast(node.clone()) {
            let name = declared.name().map(|name| name.to_string()).unwrap_or_default();
            let path = [module, std::slice::from_ref(&name)].concat();
            self.modules.push(Module { path: path.clone(), place: file.place(node.text_range().start().into()) });
            match declared.item_list() {
                Some(_) => own_module = Some(path),
                None => return self.file_of(&name, &attributes, file, module, &path),
            }
        }
        if let (Some(import), []) = (ast::Use::cast(node.clone()), module) {
            self.export(&import);
        }
        if let Some(rules) = ast::MacroRules::cast(node.clone())
            && let (Some(name), Some(room)) = (rules.name(), module.first())
            && attributes.iter().any(|attribute| attribute == "#[macro_export]")
        {
            self.exports.insert(name.to_string(), room.clone());
        }
        let module = own_module.as_deref().unwrap_or(module);
        for child in node.children_with_tokens() {
            match child {
                NodeOrToken::Node(node) => self.node(&node, file, module),
                NodeOrToken::Token(token) if !token.kind().is_trivia() => {
                    let place = file.place(token.text_range().start().into());
                    self.tokens.push(Token { text: token.text().into(), module: module.to_vec(), place });
                }
                NodeOrToken::Token(_) => {}
            }
        }
    }

    /// Reads the file of a module that is declared in another file (`mod name;`).
    fn file_of(&mut self, name: &str, attributes: &[String], file: &File<'_>, module: &[String], path: &[String]) {
        let given = attributes.iter().find_map(|attribute| attribute.strip_prefix("#[path=\"")?.strip_suffix("\"]"));
        let folder = file.name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        // Modules with a body between the file and this declaration are folders on the way.
        let below: String = module[file.module.len()..].iter().map(|name| format!("{name}/")).collect();
        let candidates = match given {
            Some(given) => vec![format!("{folder}{given}")],
            None => ["", "/mod"].map(|end| format!("{}{below}{name}{end}.rs", file.children)).to_vec(),
        };
        let found = candidates.iter().find(|candidate| self.sources.0.contains_key(*candidate));
        let found = found.unwrap_or_else(|| panic!("{}: `mod {name};` has no file {candidates:?}", file.name));
        self.file(&found.clone(), path);
    }

    /// Notes the names that a `use` in lib.rs brings into the root of the crate.
    fn export(&mut self, import: &ast::Use) {
        let Some(tree) = import.use_tree() else { return };
        for (path, name) in leaves(&tree, &[]) {
            let inside: Vec<&String> = path.iter().filter(|part| !["crate", "self"].contains(&part.as_str())).collect();
            if let [room, ..] = inside.as_slice() {
                self.exports.insert(name, room.to_string());
            }
        }
    }
}

/// The paths that a `use` names, each with the name that it gets.
fn leaves(tree: &ast::UseTree, before: &[String]) -> Vec<(Vec<String>, String)> {
    let own = tree.path().map(|path| path.to_string()).unwrap_or_default();
    let own = own.split("::").map(str::trim).filter(|part| !part.is_empty()).map(String::from);
    let path: Vec<String> = before.iter().cloned().chain(own).collect();
    if let Some(list) = tree.use_tree_list() {
        return list.use_trees().flat_map(|tree| leaves(&tree, &path)).collect();
    }
    let renamed = tree.rename().and_then(|rename| rename.name()).map(|name| name.to_string());
    let name = renamed.or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(path, name)]
}

fn without_space(attribute: &ast::Attr) -> String {
    attribute.to_string().chars().filter(|c| !c.is_whitespace()).collect()
}

/// Whether an attribute says that something is compiled only in tests.
fn is_for_tests(attribute: &str) -> bool {
    let attribute = attribute.replacen('!', "", 1);
    attribute == "#[cfg(test)]" || attribute.starts_with("#[cfg(all(test,")
}

/// All paths behind `crate::` and `super::`: the first names of the path from the root of the crate, the place, and the
/// module that the path stands in.
fn absolute_paths(tokens: &[Token]) -> Vec<(Vec<String>, &str, &[String])> {
    let mut found = vec![];
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let mut up = 0;
        let mut behind = at;
        while tokens.get(behind).is_some_and(|token| token.text == "super")
            && let Some(next) = behind_colons(tokens, behind + 1)
        {
            up += 1;
            behind = next;
        }
        let base = match token.text.as_str() {
            "crate" => behind_colons(tokens, at + 1).map(|next| (next, 0)),
            "super" if up > 0 => Some((behind, token.module.len().saturating_sub(up))),
            _ => None,
        };
        if let Some((next, kept)) = base {
            for names in first_names(tokens, next, 2) {
                let path = token.module[..kept].iter().cloned().chain(names.into_iter().map(String::from)).collect();
                found.push((path, token.place.as_str(), token.module.as_slice()));
            }
        }
        at = behind.max(at + 1);
    }
    found
}

/// The position behind `::`, which is one token in code and two in the arguments of a macro.
fn behind_colons(tokens: &[Token], at: usize) -> Option<usize> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    match () {
        () if is(at, "::") => Some(at + 1),
        () if is(at, ":") && is(at + 1, ":") => Some(at + 2),
        () => None,
    }
}

/// The first names, at most so many, of the path at a position, or of each path in a group `{a::b, c}`.
fn first_names(tokens: &[Token], at: usize, most: usize) -> Vec<Vec<&str>> {
    let Some(first) = tokens.get(at) else { return vec![] };
    if first.text != "{" {
        let rest = behind_colons(tokens, at + 1).filter(|_| most > 1);
        let rest = rest.map(|next| first_names(tokens, next, most - 1)).filter(|rest| !rest.is_empty());
        let rest = rest.unwrap_or_else(|| vec![vec![]]);
        return rest.into_iter().map(|names| [vec![first.text.as_str()], names].concat()).collect();
    }
    let (mut names, mut depth, mut begins) = (vec![], 0, false);
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => {}
            _ if begins => names.extend(first_names(tokens, at + offset, most)),
            _ => {}
        }
        begins = depth == 1 && ["{", ","].contains(&token.text.as_str());
        if depth == 0 {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of a crate with these files, each as `from → to at place`, without those of lib.rs.
    fn read(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let found = imports(&Sources(sources), &["house"]);
        let shown = found.iter().filter(|import| import.from != LIB);
        shown.map(|Import { from, to, place }| format!("{from} → {to} at {place}")).collect()
    }

    #[test]
    fn paths_of_all_forms_are_imports() {
        let a = "use crate::b::Thing;\n\
                 pub(crate) use crate::{b::{x, c::y}, c, d as other};\n\
                 fn f() -> crate::c::Type { crate::d::g() }\n\
                 fn h() { println!(\"{}\", crate::b::x) }\n\
                 macro_rules! m { () => { $crate::c::z() } }\n";
        let found = read(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("a.rs", a),
            ("b.rs", ""),
            ("c.rs", ""),
            ("d.rs", ""),
        ]);
        let expected = [
            "a → b at a.rs:1",
            "a → b at a.rs:2",
            "a → b at a.rs:2",
            "a → c at a.rs:2",
            "a → d at a.rs:2",
            "a → c at a.rs:3",
            "a → d at a.rs:3",
            "a → b at a.rs:4",
            "a → c at a.rs:5",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn comments_strings_visibilities_and_the_own_room_are_no_imports() {
        let a = "//! See [`crate::b`].\n/// As [`crate::b::f`] does.\n// crate::b::f()\nfn f() { g(\"crate::b::f\") }\n\
                 /* crate::b */ pub(crate) fn g(_: &str) {}\npub(in crate::a) fn h() {}\nuse crate::a::f as i;\nuse self::g as j;\n";
        assert_eq!(read(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "")]), [""; 0]);
    }

    #[test]
    fn code_that_is_compiled_only_in_tests_does_not_count() {
        let a = "#[cfg(test)]\nmod fake;\n#[cfg(test)]\nuse crate::b;\n#[cfg(all(test, unix))]\nfn f() { crate::b::f() }\n\
                 #[cfg(test)]\nmod tests {\n    use crate::b::f;\n}\n#[cfg(unix)]\nuse crate::c;\n";
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\n#[cfg(test)]\nmod testing;"),
            ("a/mod.rs", a),
            ("a/fake.rs", "use crate::b;"),
            ("b.rs", ""),
            ("c.rs", "#![cfg(test)]\nuse crate::b;"),
            ("testing.rs", "use crate::a;"),
        ];
        assert_eq!(read(&files), ["a → c at a/mod.rs:12"]);
    }

    #[test]
    fn files_of_a_room_are_found_wherever_they_lie() {
        let files = [
            ("lib.rs", "mod a;\nmod b { pub mod inner; }\n#[path = \"elsewhere/c.rs\"]\nmod c;"),
            ("a.rs", "mod below;"),
            ("a/below.rs", "mod deeper;"),
            ("a/below/deeper/mod.rs", "use crate::b::inner;"),
            ("b/inner.rs", "use crate::c::f;"),
            ("elsewhere/c.rs", "use crate::a::below;"),
        ];
        assert_eq!(
            read(&files),
            ["a → b at a/below/deeper/mod.rs:1", "b → c at b/inner.rs:1", "c → a at elsewhere/c.rs:1"]
        );
    }

    #[test]
    fn super_is_an_import_when_it_leads_to_the_root() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x;\nuse super::b::f;\nmod inline { use super::super::b::g; use super::h; }"),
            ("a/x.rs", "use super::super::b;\nuse super::inline;\nuse super::super::{a::inline as i, b as c};"),
            ("b.rs", ""),
        ];
        let expected = ["a → b at a/x.rs:1", "a → b at a/x.rs:3", "a → b at a/mod.rs:2", "a → b at a/mod.rs:3"];
        assert_eq!(read(&files), expected);
    }

    #[test]
    fn a_re_export_of_lib_is_an_import_of_the_room_that_defines_it() {
        let lib = "mod a;\nmod b;\nmod c;\npub use b::Thing;\npub use crate::b::{inner::Other as Renamed, More};\n\
                   use self::c::C;\npub struct Root;";
        let a = "use crate::Thing;\nuse crate::{Renamed, C};\nfn f(_: crate::Root) {}\nfn g() { crate::exported!() }";
        let c = "#[macro_export]\nmacro_rules! exported { () => {} }";
        let found = read(&[("lib.rs", lib), ("a.rs", a), ("b.rs", ""), ("c.rs", c)]);
        let expected =
            ["a → b at a.rs:1", "a → b at a.rs:2", "a → c at a.rs:2", "a → lib.rs at a.rs:3", "a → c at a.rs:4"];
        assert_eq!(found, expected);
    }

    #[test]
    fn each_module_of_a_house_is_a_room() {
        let files = [
            ("lib.rs", "mod a;\nmod house;"),
            ("a.rs", "use crate::house::x::f;\nuse crate::house::{y::g, ALL};"),
            ("house/mod.rs", "pub mod x;\npub mod y;\npub const ALL: u8 = x::ONE;"),
            ("house/x.rs", "use super::y::g;\nuse crate::house::x::own;\nuse super::ALL;"),
            ("house/y/mod.rs", "mod inner;\nuse crate::a::h;"),
            ("house/y/inner.rs", "use super::own;\nuse super::super::x::f;"),
        ];
        let expected = [
            "house → house::x at house/mod.rs:1",
            "house → house::y at house/mod.rs:2",
            "a → house::x at a.rs:1",
            "a → house::y at a.rs:2",
            "a → house at a.rs:2",
            "house::x → house::y at house/x.rs:1",
            "house::x → house at house/x.rs:3",
            "house::y → house::x at house/y/inner.rs:2",
            "house::y → a at house/y/mod.rs:2",
        ];
        assert_eq!(read(&files), expected);
    }

    #[test]
    fn an_item_of_lib_makes_a_circle() {
        let files = [("lib.rs", "mod a;\npub struct Root;"), ("a.rs", "use crate::Root;")];
        let sources = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let circles = super::super::circles::circles(&imports(&Sources(sources), &[]));
        assert_eq!(circles[0].to_string(), "a → lib.rs → a\n    a → lib.rs: a.rs:1\n    lib.rs → a: lib.rs:1\n");
    }
}
