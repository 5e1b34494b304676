//! Types for values with one representation. [`display`](crate::display()) shows them, and they can be the last
//! expression of a cell.

use crate::{Bundle, ToBundle};
use serde_core::Serialize;

/// Defines a type around the argument of each of these methods of [`Bundle`].
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident<$content:ident: $bound:path> = $default:ty,
        |$bundle:ident, $value:ident| $make:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name<$content = $default>(pub $content);

        impl<$content: $bound> ToBundle for $name<$content> {
            fn to_bundle(&self) -> Bundle {
                let ($bundle, $value) = (Bundle::new(), &self.0);
                $make
            }
        }

        impl<$content: $bound> $name<$content> {
            /// Prints the value as the value of a cell. evcxr calls this method.
            pub fn evcxr_display(&self) {
                self.to_bundle().evcxr_display();
            }
        }
    )*};
}

kinds! {
    /// Text, shown without the quotation marks of `Debug`.
    Text<S: AsRef<str>> = String, |bundle, text| bundle.text(text.as_ref());
    /// HTML: `Html("<b>bold</b>")`.
    Html<S: AsRef<str>> = String, |bundle, html| bundle.html(html.as_ref());
    /// Markdown: `Markdown("**bold**")`.
    Markdown<S: AsRef<str>> = String, |bundle, markdown| bundle.markdown(markdown.as_ref());
    /// LaTeX: `Latex(r"$\sqrt{2}$")`.
    Latex<S: AsRef<str>> = String, |bundle, latex| bundle.latex(latex.as_ref());
    /// An SVG picture.
    Svg<S: AsRef<str>> = String, |bundle, svg| bundle.svg(svg.as_ref());
    /// A PNG picture: `Png(std::fs::read("plot.png")?)`.
    Png<B: AsRef<[u8]>> = Vec<u8>, |bundle, png| bundle.png(png);
    /// A JPEG picture: `Jpeg(std::fs::read("photo.jpg")?)`.
    Jpeg<B: AsRef<[u8]>> = Vec<u8>, |bundle, jpeg| bundle.jpeg(jpeg);
    /// A value that implements `Serialize`, which front ends show as a tree.
    Json<V: Serialize> = serde_json::Value, |bundle, value| bundle.json(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_type_has_its_representation() {
        let html = Html("<b>").to_bundle();
        assert_eq!(html.get("text/html").unwrap(), "<b>");
        assert_eq!(Markdown(format!("{}", 1)).to_bundle().get("text/markdown").unwrap(), "1");
        assert_eq!(Latex("$x$").to_bundle().get("text/latex").unwrap(), "$x$");
        assert_eq!(Svg("<svg/>").to_bundle().get("image/svg+xml").unwrap(), "<svg/>");
        assert_eq!(Png(vec![1, 2, 3]).to_bundle().get("image/png").unwrap(), "AQID");
        assert_eq!(Jpeg([1_u8, 2, 3]).to_bundle().get("image/jpeg").unwrap(), "AQID");
        assert_eq!(Json(vec![Some(1), None]).to_bundle().get("application/json").unwrap(), &json!([1, null]));
        assert_eq!(Text("a").to_bundle().plain(), "a");
    }
}
