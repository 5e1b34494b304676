// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

use ra_ap_syntax::SyntaxKind;
use ra_ap_syntax::SyntaxNode;
use ra_ap_syntax::T;

/// The variable that holds the value of the last expression. The embedder replaces each `_` that stands
/// for a value by this name.
pub const LAST: &str = "\u{2cd}";

/// The last value of before, in a cell that mentions it and has a value itself.
pub(crate) const OLD_LAST: &str = "\u{2cd}old";

/// The name to which the value of a cell is bound while it is displayed, if it is kept.
pub(crate) const KEPT: &str = "evcxr_last";

/// Returns whether an expression makes a value that nobody else owns. Keeping a variable or a part of one
/// would move it, and keeping a reference would borrow from something.
pub(crate) fn makes_a_value(expression: &SyntaxNode) -> bool {
    use SyntaxKind::*;
    let operator = |token| {
        expression
            .children_with_tokens()
            .any(|child| child.kind() == token)
    };
    match expression.kind() {
        PAREN_EXPR => expression.children().any(|inner| makes_a_value(&inner)),
        PREFIX_EXPR => !operator(T![*]),
        BIN_EXPR => {
            let assigns = |kind| {
                matches!(
                    kind,
                    T![=]
                        | T![+=]
                        | T![-=]
                        | T![*=]
                        | T![/=]
                        | T![%=]
                        | T![&=]
                        | T![|=]
                        | T![^=]
                        | T![<<=]
                        | T![>>=]
                )
            };
            !expression
                .children_with_tokens()
                .any(|child| assigns(child.kind()))
        }
        MACRO_EXPR => {
            let name = expression
                .descendants()
                .find(|node| node.kind() == NAME_REF);
            !name.is_some_and(|name| {
                [
                    "print",
                    "println",
                    "eprint",
                    "eprintln",
                    "assert",
                    "assert_eq",
                    "assert_ne",
                ]
                .contains(&&*name.text().to_string())
            })
        }
        CALL_EXPR | METHOD_CALL_EXPR | LITERAL | ARRAY_EXPR | TUPLE_EXPR | RECORD_EXPR
        | RANGE_EXPR | CAST_EXPR | TRY_EXPR | AWAIT_EXPR | IF_EXPR | MATCH_EXPR | BLOCK_EXPR => {
            true
        }
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
        for code in [
            "1 + x",
            "f(x)",
            "x.len()",
            "(x.y())",
            "-x",
            "vec![1]",
            "(1, 2)",
            "f()?",
            "if a { 1 } else { 2 }",
            "x as i32",
        ] {
            assert!(kept(code), "{code}");
        }
        for code in [
            "x",
            "x.y",
            "(x)",
            "x[1]",
            "&x",
            "*x",
            "x = 1",
            "x += 1",
            "x <<= 1",
            "for x in y {}",
            "|x| x",
            "loop {}",
            "println!(\"{x}\")",
        ] {
            assert!(!kept(code), "{code}");
        }
    }
}
