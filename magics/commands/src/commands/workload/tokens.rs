//! The code of a workload without comments and white space.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The tokens of a Rust text, one after the other, without comments and documentation. None if it has no tokens, as a
/// string without its end.
pub fn tokens(code: &str) -> Option<Vec<String>> {
    let mut found = vec![];
    add(code.parse().ok()?, &mut found);
    Some(found)
}

fn add(stream: TokenStream, found: &mut Vec<String>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut rest = trees.as_slice();
    while let [first, after @ ..] = rest {
        rest = match (is(first, '#'), after) {
            (true, [attribute, after @ ..]) if is_doc(attribute) => after,
            (true, [mark, attribute, after @ ..]) if is(mark, '!') && is_doc(attribute) => after,
            _ => {
                add_tree(first, found);
                after
            }
        };
    }
}

fn add_tree(tree: &TokenTree, found: &mut Vec<String>) {
    match tree {
        TokenTree::Group(group) => {
            let (open, close) = match group.delimiter() {
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::None => ("", ""),
            };
            found.push(open.into());
            add(group.stream(), found);
            found.push(close.into());
        }
        // `a && b` is not `a & &b`.
        TokenTree::Punct(punct) if punct.as_char() == '&' && punct.spacing() == Spacing::Joint => {
            found.push("& joint".into());
        }
        other => found.push(other.to_string()),
    }
}

fn is(tree: &TokenTree, character: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Whether a tree is the `[doc = "…"]` that a documentation comment stands for.
fn is_doc(tree: &TokenTree) -> bool {
    let TokenTree::Group(group) = tree else { return false };
    let mut inside = group.stream().into_iter();
    group.delimiter() == Delimiter::Bracket
        && matches!(inside.next(), Some(TokenTree::Ident(name)) if name == "doc")
        && inside.next().is_some_and(|tree| is(&tree, '='))
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn comments_documentation_and_white_space_are_no_code() {
        let code = tokens("fn f() -> i64 { 1 + 2 }").unwrap();
        for same in [
            "//! Head.\n/// Doc.\nfn f()->i64{1+2}",
            "#[doc = \"d\"] fn f() -> i64 { /* a */ 1\n // b\n + /** c */ 2 }",
            "/** d\n */\nfn f( )\n-> i64\n{\n    1 + 2\n}\n",
        ] {
            assert_eq!(tokens(same).unwrap(), code, "{same}");
        }
        for other in ["fn f() -> i64 { 1 - 2 }", "#[inline] fn f() -> i64 { 1 + 2 }", "fn f() -> i64 { 12 }"] {
            assert_ne!(tokens(other).unwrap(), code, "{other}");
        }
        assert_ne!(tokens("a && b"), tokens("a & &b"));
        assert_ne!(tokens("\"\n/// a\n\""), tokens("\"\n/// b\n\""), "a string is no comment");
        assert_eq!(tokens("\"open"), None);
    }
}
