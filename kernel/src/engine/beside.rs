//! Files that a cell names are beside the notebook: `mod hello;`, `include_str!("notes.txt")`. The crate into which
//! cells are compiled lies elsewhere.

use super::errors::CellError;
use ra_ap_syntax::ast::{self, AstNode, AstToken, HasAttrs, HasName, HasVisibility};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, SyntaxToken, T};
use std::ops::Range;
use std::path::Path;
use tunebook_magics::ErrorName;

/// The code before a cell that makes it the body of a function for the parser.
const BEFORE: &str = "fn cell() {";

/// The cell with whole paths to the files that it names. None if it names none.
pub fn with_paths(code: &str, folder: &Path) -> Result<Option<String>, CellError> {
    if !code.contains("mod ") && !code.contains("include") {
        return Ok(None);
    }
    let file = SourceFile::parse(&format!("{BEFORE}{code}\n}}"), Edition::Edition2024).tree();
    let mut changes: Vec<(Range<usize>, String)> = vec![];
    let of_cell = |range: ra_ap_syntax::TextRange| {
        usize::from(range.start()) - BEFORE.len()..usize::from(range.end()) - BEFORE.len()
    };
    for module in file.syntax().descendants().filter_map(ast::Module::cast) {
        let has_path = module.attrs().any(|attribute| attribute.syntax().text().to_string().contains("path"));
        let is_inside = module.syntax().ancestors().skip(1).any(|outer| ast::Module::can_cast(outer.kind()));
        let (None, Some(name), false) = (module.item_list(), module.name(), has_path || is_inside) else { continue };
        let name = name.text().trim_start_matches("r#").to_string();
        let found = [format!("{name}.rs"), format!("{name}/mod.rs")].map(|file| folder.join(file));
        let Some(path) = found.iter().find(|path| path.is_file()) else {
            let message = format!("`mod {name};` needs the file {name}.rs or {name}/mod.rs in {}", folder.display());
            return Err(CellError::new(ErrorName::FileError, message));
        };
        let Some(first) = module.mod_token() else { continue };
        let start = module.visibility().map_or(first.text_range(), |visibility| visibility.syntax().text_range());
        let at = of_cell(start).start;
        changes.push((at..at, format!("#[path = {:?}] ", path.display().to_string())));
    }
    let tokens = file.syntax().descendants_with_tokens().filter_map(|element| element.into_token());
    for token in tokens.filter(|token| token.kind() == SyntaxKind::IDENT) {
        if !["include_str", "include_bytes", "include"].contains(&token.text()) {
            continue;
        }
        let Some(literal) = argument(&token) else { continue };
        let Some(path) = ast::String::cast(literal.clone()).and_then(|text| text.value().ok().map(|t| t.into_owned()))
        else {
            continue;
        };
        changes.push((of_cell(literal.text_range()), format!("{:?}", folder.join(path).display().to_string())));
    }
    changes.sort_by_key(|(range, _)| range.start);
    let mut changed = code.to_string();
    for (range, text) in changes.iter().rev() {
        changed.replace_range(range.clone(), text);
    }
    Ok((!changes.is_empty()).then_some(changed))
}

/// The string that is the first argument of a macro of this name.
fn argument(name: &SyntaxToken) -> Option<SyntaxToken> {
    let after = std::iter::successors(name.next_token(), SyntaxToken::next_token);
    let mut after = after.filter(|token| !token.kind().is_trivia());
    let is_call = after.next()?.kind() == T![!] && [T!['('], T!['['], T!['{']].contains(&after.next()?.kind());
    after.next().filter(|token| is_call && token.kind() == SyntaxKind::STRING)
}

#[cfg(test)]
mod tests {
    use super::with_paths;

    #[test]
    fn files_are_looked_for_beside_the_notebook() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hello.rs"), "").unwrap();
        let at = |name: &str| format!("{:?}", folder.path().join(name).display().to_string());
        for (code, expected) in [
            ("mod hello;".to_string(), format!("#[path = {}] mod hello;", at("hello.rs"))),
            ("/// H.\npub mod hello;".into(), format!("/// H.\n#[path = {}] pub mod hello;", at("hello.rs"))),
            (
                "let ä = f(include_str!(\"a.txt\"));\nprintln!(\"{}\", include_str! ( \"b\" ));".into(),
                format!("let ä = f(include_str!({}));\nprintln!(\"{{}}\", include_str! ( {} ));", at("a.txt"), at("b")),
            ),
            ("include_bytes!(\"/x\")".into(), "include_bytes!(\"/x\")".into()),
        ] {
            assert_eq!(with_paths(&code, folder.path()).unwrap().as_deref(), Some(expected.as_str()));
        }
        for code in ["mod m { mod hello; }", "let s = \"mod hello;\";", "#[path = \"x.rs\"] mod hello;", "// include"] {
            assert_eq!(with_paths(code, folder.path()).unwrap(), None, "{code}");
        }
        let error = with_paths("mod other;", folder.path()).unwrap_err();
        assert!(error.message.contains("other.rs or other/mod.rs"), "{}", error.message);
    }
}
