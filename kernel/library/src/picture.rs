//! Shows tensors as pictures: one image, or a batch of images in a grid.

use tch::{Device, Kind, Tensor};
use tunebook_cell::{Bundle, ToBundle};

/// The number of images of a batch that are drawn. The caption tells if there are more.
const MOST: i64 = 64;
/// Small images are enlarged, up to this many pixels per side.
const SIDE: i64 = 96;

/// A picture that can be the value of a cell: a PNG file with a caption.
pub struct Picture {
    png: Vec<u8>,
    caption: String,
}

impl Picture {
    /// The content of the PNG file; empty if the tensor cannot be drawn.
    pub fn png(&self) -> &[u8] {
        &self.png
    }

    /// A line that describes the picture, or tells why the tensor cannot be drawn.
    pub fn caption(&self) -> &str {
        &self.caption
    }

    /// Prints the picture as the value of a cell. evcxr calls this method.
    pub fn evcxr_display(&self) {
        self.to_bundle().evcxr_display();
    }
}

impl ToBundle for Picture {
    fn to_bundle(&self) -> Bundle {
        let bundle = Bundle::new().text(self.caption.as_str());
        if self.png.is_empty() { bundle } else { bundle.png(&self.png) }
    }
}

/// Draws an image of shape \[height, width\] or \[1 or 3, height, width\], or a batch of shape \[batch, 1 or 3, height,
/// width\] as a grid.
///
/// Values of type `Uint8` are pixels. Values of other types are mapped to black and white at 0 and 1 if they all lie
/// between these, and else at the smallest and the largest value. A tensor of another shape gives a picture without an
/// image, whose caption tells the reason.
pub fn picture(tensor: &Tensor) -> Picture {
    tch::no_grad(|| draw(tensor)).unwrap_or_else(|problem| Picture { png: vec![], caption: problem })
}

fn draw(tensor: &Tensor) -> Result<Picture, String> {
    let shape = tensor.size();
    let batch = match shape.as_slice() {
        [_, _] => tensor.unsqueeze(0).unsqueeze(0),
        [1 | 3, _, _] => tensor.unsqueeze(0),
        [_, 1 | 3, _, _] => tensor.shallow_clone(),
        _ => {
            return Err(format!(
                "{shape:?} is no image: [height, width], [1 or 3, height, width] or [batch, 1 or 3, height, width] is"
            ));
        }
    };
    if tensor.numel() == 0 {
        return Err(format!("{shape:?} has no pixels"));
    }
    let batch = batch.to_device(Device::Cpu);
    let (pixels, scale) = match batch.kind() {
        Kind::Uint8 => (batch.shallow_clone(), String::new()),
        _ => bytes(&batch)?,
    };
    let size = pixels.size();
    let (count, channels, height, width) = (size[0].min(MOST), size[1], size[2], size[3]);
    let enlarge = (SIDE / height.max(width)).max(1);
    let pixels = pixels
        .narrow(0, 0, count)
        .repeat_interleave_self_int(enlarge, 2, None)
        .repeat_interleave_self_int(enlarge, 3, None);
    let (height, width) = (height * enlarge, width * enlarge);
    // The grid is about as wide as a notebook. There are two pixels between the images.
    let columns = (800 / (width + 2)).clamp(1, count.max(1)).min(count);
    let rows = (count + columns - 1) / columns;
    let (full_height, full_width) = (rows * (height + 2) - 2, columns * (width + 2) - 2);
    let grid = Tensor::full([channels, full_height, full_width], 255, (Kind::Uint8, Device::Cpu));
    for i in 0..count {
        let (top, left) = ((i / columns) * (height + 2), (i % columns) * (width + 2));
        grid.narrow(1, top, height).narrow(2, left, width).copy_(&pixels.get(i));
    }
    let flat = grid.permute([1, 2, 0]).contiguous().flatten(0, -1);
    let flat = Vec::<u8>::try_from(&flat).map_err(|error| error.to_string())?;
    let mut png = vec![];
    let mut encoder = png::Encoder::new(&mut png, full_width as u32, full_height as u32);
    encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&flat).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    let left_out = if size[0] > count { format!(", the first {count}") } else { String::new() };
    Ok(Picture { png, caption: format!("picture of {shape:?}{left_out}{scale}") })
}

/// Scales values to bytes, and returns a note for the caption about the scale.
fn bytes(batch: &Tensor) -> Result<(Tensor, String), String> {
    let batch = batch.to_kind(Kind::Float).nan_to_num(0.0, None, None);
    let (least, most) = (batch.min().double_value(&[]), batch.max().double_value(&[]));
    let (low, high) = if least >= 0.0 && most <= 1.0 { (0.0, 1.0) } else { (least, most) };
    if !(low.is_finite() && high.is_finite()) {
        return Err("numbers that are infinite cannot be drawn".into());
    }
    let scaled = (batch - low) / (high - low).max(1e-12) * 255.0;
    let note = if (low, high) == (0.0, 1.0) { String::new() } else { format!(", black is {low:.4}, white {high:.4}") };
    Ok((scaled.round().clamp(0.0, 255.0).to_kind(Kind::Uint8), note))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a PNG file to width, height and pixels.
    fn decoded(picture: &Picture) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture.png())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn an_image_is_enlarged_and_a_batch_becomes_a_grid() {
        let image = Tensor::from_slice(&[0.0_f32, 1.0, 0.5, 0.25]).view([2, 2]);
        let (width, height, pixels) = decoded(&picture(&image));
        assert_eq!((width, height, pixels[0], pixels[95]), (96, 96, 0, 255));
        let batch = Tensor::zeros([10, 3, 96, 96], (Kind::Uint8, Device::Cpu));
        let (width, height, _) = decoded(&picture(&batch));
        assert_eq!((width, height), (8 * 98 - 2, 2 * 98 - 2));
    }

    #[test]
    fn values_beyond_0_and_1_are_scaled_and_the_caption_tells_the_scale() {
        let shown = picture(&Tensor::from_slice(&[-2.0_f32, 2.0]).view([1, 2]));
        assert!(shown.caption().ends_with("black is -2.0000, white 2.0000"), "{}", shown.caption());
        assert_eq!(decoded(&shown).2[..1], [0]);
    }

    #[test]
    fn the_caption_tells_why_a_tensor_is_no_image() {
        let shown = picture(&Tensor::zeros([2, 5, 4, 4], (Kind::Float, Device::Cpu)));
        assert!(shown.png().is_empty() && shown.caption().contains("is no image"), "{}", shown.caption());
    }
}
