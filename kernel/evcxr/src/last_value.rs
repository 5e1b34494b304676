// Tunebook: the value of the last expression, kept for `_` (see CHANGES.md).

use ra_ap_syntax::SyntaxKind;
use ra_ap_syntax::SyntaxNode;
use ra_ap_syntax::T;

/// What the value is bound to while it is displayed.
pub(crate) const KEPT: &str = "evcxr_last";

/// Whether an expression makes a value that nobody else owns: not a variable or a part of one, nor a reference, which would be
/// moved or borrowed by keeping it; nor what has no value.
pub(crate) fn makes_a_value(expression: &SyntaxNode) -> bool {
    use SyntaxKind::*;
    let operator = |token| expression.children_with_tokens().any(|child| child.kind() == token);
    match expression.kind() {
        PAREN_EXPR => expression.children().any(|inner| makes_a_value(&inner)),
        PREFIX_EXPR => !operator(T![*]),
        BIN_EXPR => {
            let assigns = |kind| {
                matches!(
                    kind,
                    T![=] | T![+=] | T![-=] | T![*=] | T![/=] | T![%=] | T![&=] | T![|=] | T![^=] | T![<<=] | T![>>=]
                )
            };
            !expression.children_with_tokens().any(|child| assigns(child.kind()))
        }
        MACRO_EXPR => {
            let name = expression.descendants().find(|node| node.kind() == NAME_REF);
            !name.is_some_and(|name| ["print", "println", "eprint", "eprintln", "assert", "assert_eq", "assert_ne"].contains(&&*name.text().to_string()))
        }
        CALL_EXPR | METHOD_CALL_EXPR | LITERAL | ARRAY_EXPR | TUPLE_EXPR | RECORD_EXPR | RANGE_EXPR | CAST_EXPR
        | TRY_EXPR | AWAIT_EXPR | IF_EXPR | MATCH_EXPR | BLOCK_EXPR => true,
        _ => false,
    }
}

#[cfg(test)]
mod test {
    use super::makes_a_value;
    use crate::code_block::CodeBlock;

    #[test]
    fn variables_and_references_are_left_where_they_are() {
        let kept = |code: &str| makes_a_value(&CodeBlock::from_original_user_code(code).1.nodes[0]);
        for code in ["1 + x", "f(x)", "x.len()", "(x.y())", "-x", "vec![1]", "(1, 2)", "f()?", "if a { 1 } else { 2 }", "x as i32"] {
            assert!(kept(code), "{code}");
        }
        for code in ["x", "x.y", "(x)", "x[1]", "&x", "*x", "x = 1", "x += 1", "x <<= 1", "for x in y {}", "|x| x", "loop {}", "println!(\"{x}\")"] {
            assert!(!kept(code), "{code}");
        }
    }
}
