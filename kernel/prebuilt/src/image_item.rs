/// Shows a picture of the crate `image` as the value of a cell.
pub trait ShowImage {
    /// The width and the height in pixels, and the bytes of a PNG file or the reason why it cannot be encoded.
    fn as_png(&self) -> (u32, u32, ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String>);

    /// The picture and a line of text as blocks of evcxr's display convention.
    fn content(&self) -> ::std::string::String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (width, height, png) = self.as_png();
        let mut content = ::std::string::String::new();
        let mut note = ::std::string::String::new();
        match png {
            ::std::result::Result::Ok(png) => {
                content.push_str("EVCXR_BEGIN_CONTENT image/png\n");
                for piece in png.chunks(3) {
                    let byte = |at: usize| u32::from(piece.get(at).copied().unwrap_or(0));
                    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
                    for at in 0..4 {
                        let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
                        content.push(if at > piece.len() { '=' } else { digit });
                    }
                }
                content.push_str("\nEVCXR_END_CONTENT\n");
            }
            ::std::result::Result::Err(problem) => note = ::std::format!(", which cannot be shown: {problem}"),
        }
        content + &::std::format!("EVCXR_BEGIN_CONTENT text/plain\nimage, {width} × {height}{note}\nEVCXR_END_CONTENT")
    }

    /// Prints the blocks. evcxr calls this method for the value of a cell.
    fn evcxr_display(&self) {
        ::std::println!("{}", self.content());
    }
}

impl ShowImage for ::image::DynamicImage {
    fn as_png(&self) -> (u32, u32, ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String>) {
        let mut png = ::std::io::Cursor::new(::std::vec::Vec::new());
        let written = self.write_to(&mut png, ::image::ImageFormat::Png);
        (self.width(), self.height(), written.map(|()| png.into_inner()).map_err(|error| error.to_string()))
    }
}

impl<P, C> ShowImage for ::image::ImageBuffer<P, C>
where
    P: ::image::PixelWithColorType,
    [P::Subpixel]: ::image::EncodableLayout,
    C: ::std::ops::Deref<Target = [P::Subpixel]>,
{
    fn as_png(&self) -> (u32, u32, ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String>) {
        let mut png = ::std::io::Cursor::new(::std::vec::Vec::new());
        let written = self.write_to(&mut png, ::image::ImageFormat::Png);
        (self.width(), self.height(), written.map(|()| png.into_inner()).map_err(|error| error.to_string()))
    }
}
