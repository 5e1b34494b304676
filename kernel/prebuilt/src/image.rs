//! Shows pictures of the crate `image` as values of cells. That crate does not implement evcxr's display convention, so
//! the kernel adds a trait that does to the cells of a user who depends on it.

/// The trait and its implementations, as code for a cell. It needs the crate `image` 0.25 and no other crate.
pub const IMAGE_ITEM: &str = include_str!("image_item.rs");

#[cfg(test)]
mod tests {
    use ::image::{DynamicImage, GrayImage, Luma, Rgb, Rgb32FImage, RgbImage, RgbaImage};
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    include!("image_item.rs");

    /// Decodes the picture in what a value prints.
    fn shown(image: &impl ShowImage) -> DynamicImage {
        let content = image.content();
        let lines: Vec<&str> = content.lines().collect();
        assert_eq!((lines[0], lines[2]), ("EVCXR_BEGIN_CONTENT image/png", "EVCXR_END_CONTENT"));
        assert_eq!((lines[3], lines[5]), ("EVCXR_BEGIN_CONTENT text/plain", "EVCXR_END_CONTENT"));
        assert_eq!(lines.len(), 6);
        ::image::load_from_memory(&BASE64_STANDARD.decode(lines[1]).unwrap()).unwrap()
    }

    #[test]
    fn pictures_of_each_pixel_type_are_shown_unchanged() {
        // Different widths give PNG files of each length modulo 3, and so each padding of base64.
        for width in 1..8 {
            let rgb = RgbImage::from_fn(width, 2, |x, y| Rgb([x as u8 * 30, y as u8 * 100, 7]));
            assert_eq!(shown(&rgb), DynamicImage::ImageRgb8(rgb.clone()));
            assert_eq!(shown(&DynamicImage::ImageRgb8(rgb.clone())), DynamicImage::ImageRgb8(rgb));
        }
        let gray = GrayImage::from_pixel(3, 2, Luma([9]));
        assert_eq!(shown(&gray), DynamicImage::ImageLuma8(gray.clone()));
        let rgba = RgbaImage::new(1, 1);
        assert_eq!(shown(&rgba), DynamicImage::ImageRgba8(rgba.clone()));
        assert!(rgba.content().contains("text/plain\nimage, 1 × 1\n"));
        rgba.evcxr_display();
    }

    #[test]
    fn a_picture_that_png_cannot_hold_shows_the_reason() {
        let content = Rgb32FImage::new(2, 3).content();
        assert!(
            content.starts_with("EVCXR_BEGIN_CONTENT text/plain\nimage, 2 × 3, which cannot be shown: "),
            "{content}"
        );
    }
}
