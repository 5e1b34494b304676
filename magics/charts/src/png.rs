//! The static picture of a chart as PNG, for programs that show no HTML, such as the conversion of a notebook to LaTeX.

use crate::chart::Chart;
use crate::picture;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// The font of charts. It has Latin, Greek and mathematical characters; for others, a font of the system is taken.
const FONTS: [&[u8]; 2] =
    [include_bytes!("../vendor/DejaVuSans-subset.ttf"), include_bytes!("../vendor/DejaVuSans-Bold-subset.ttf")];
const FAMILY: &str = "DejaVu Sans";
/// Pixels for each unit of the picture, so that it is sharp in print and on dense screens.
const SCALE: f32 = 2.0;

/// Returns the PNG of a chart. None if it cannot be drawn, which is not known to happen.
pub fn png(chart: &Chart) -> Option<Vec<u8>> {
    let mut options = Options { font_family: FAMILY.into(), ..Options::default() };
    let fonts = options.fontdb_mut();
    FONTS.iter().for_each(|font| fonts.load_font_data(font.to_vec()));
    fonts.load_system_fonts();
    fonts.set_sans_serif_family(FAMILY);
    let tree = Tree::from_str(&picture::svg(chart), &options).ok()?;
    let size = tree.size().to_int_size().scale_by(SCALE)?;
    let mut pixels = Pixmap::new(size.width(), size.height())?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().ok()
}
