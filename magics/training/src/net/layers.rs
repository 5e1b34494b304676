//! The layers of a [`Net`].

use super::{Init, Net};
use crate::randomness::Stream;
use tch::{Kind, Tensor};

/// What a convolution is like beside its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Side of the kernel.
    pub kernel: i64,
    /// Step between outputs.
    pub stride: i64,
    /// Zeros around the image; (kernel − 1) / 2 keeps its size.
    pub padding: i64,
    /// Whether a bias is added: not before a batch norm, which takes it away again.
    pub bias: bool,
}

impl Convolution {
    /// One that keeps the size of the image.
    pub fn same(kernel: i64) -> Self {
        Self { kernel, stride: 1, padding: (kernel - 1) / 2, bias: true }
    }

    /// With another stride.
    pub fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// Without bias.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }
}

impl Net<'_> {
    /// `units` weighted sums of the last dimension of x, plus a bias: weight \[units, in\] (He), bias \[units\] (zero).
    #[track_caller]
    pub fn linear(&self, name: &str, x: &Tensor, units: i64) -> Tensor {
        let inputs = last(name, x);
        let weight = self.parameter(&format!("{name}.weight"), &[units, inputs], Init::He { fan_in: inputs });
        let bias = self.parameter(&format!("{name}.bias"), &[units], Init::Constant(0.0));
        self.fitting(name, x, || x.f_linear(&weight, Some(&bias)))
    }

    /// A convolution over images \[batch, channels, height, width\].
    #[track_caller]
    pub fn conv2d(&self, name: &str, x: &Tensor, channels: i64, convolution: Convolution) -> Tensor {
        let size = x.size();
        let &[_, inputs, _, _] = size.as_slice() else {
            panic!("the layer `{name}` wants images [batch, channels, height, width] and got {size:?}");
        };
        let Convolution { kernel: k, stride: s, padding: p, bias } = convolution;
        let init = Init::He { fan_in: inputs * k * k };
        let weight = self.parameter(&format!("{name}.weight"), &[channels, inputs, k, k], init);
        let bias = bias.then(|| self.parameter(&format!("{name}.bias"), &[channels], Init::Constant(0.0)));
        self.fitting(name, x, || x.f_conv2d(&weight, bias.as_ref(), [s, s], [p, p], [1, 1], 1))
    }

    /// Vectors of a width for indices: weight \[count, width\] (normal, deviation 1/√width).
    pub fn embedding(&self, name: &str, indices: &Tensor, count: i64, width: i64) -> Tensor {
        let deviation = 1.0 / (width as f64).sqrt();
        let weight = self.parameter(&format!("{name}.weight"), &[count, width], Init::Normal { deviation });
        Tensor::embedding(&weight, indices, -1, false, false)
    }

    /// Normalizes over the last dimension (Ba et al. 2016).
    #[track_caller]
    pub fn layer_norm(&self, name: &str, x: &Tensor) -> Tensor {
        let width = last(name, x);
        let weight = self.parameter(&format!("{name}.weight"), &[width], Init::Constant(1.0));
        let bias = self.parameter(&format!("{name}.bias"), &[width], Init::Constant(0.0));
        x.layer_norm([width], Some(&weight), Some(&bias), 1e-5, true)
    }

    /// Normalizes each channel of x \[batch, channels, …\] (Ioffe and Szegedy 2015). In training by the statistics of
    /// `ghost_batch_size` examples at a time, however large the batch is (Hoffer et al. 2017; Playbook B15); the running
    /// averages that evaluation uses take the mean over those ghost batches, since they are linear in the statistics (H12).
    pub fn batch_norm(&self, name: &str, x: &Tensor) -> Tensor {
        const MOMENTUM: f64 = 0.1;
        const EPSILON: f64 = 1e-5;
        let size = x.size();
        let (batch, channels) = (size[0], size[1]);
        let weight = self.parameter(&format!("{name}.weight"), &[channels], Init::Constant(1.0));
        let bias = self.parameter(&format!("{name}.bias"), &[channels], Init::Constant(0.0));
        let mean = self.buffer(&format!("{name}.running_mean"), &[channels], 0.0);
        let variance = self.buffer(&format!("{name}.running_variance"), &[channels], 1.0);
        if !self.is_training() {
            return x.batch_norm(Some(&weight), Some(&bias), Some(&mean), Some(&variance), false, 0.0, EPSILON, false);
        }
        let ghost: i64 = self.get("ghost_batch_size");
        let groups = if ghost > 0 && ghost < batch { batch / ghost } else { 1 };
        if groups == 1 {
            let (mean, variance) = (Some(&mean), Some(&variance));
            return x.batch_norm(Some(&weight), Some(&bias), mean, variance, true, MOMENTUM, EPSILON, true);
        }
        // Each group's channels become channels of their own: [ghost, groups · channels, …].
        let rest = &size[2..];
        let apart = [&[groups, ghost, channels], rest].concat();
        let folded = [&[ghost, groups * channels], rest].concat();
        let x = x.view(apart.as_slice()).transpose(0, 1).reshape(&folded);
        let (group_mean, group_variance) = (mean.repeat([groups]).contiguous(), variance.repeat([groups]).contiguous());
        let repeated = |t: &Tensor| t.repeat([groups]);
        let (w, b) = (repeated(&weight), repeated(&bias));
        let stats = (Some(&group_mean), Some(&group_variance));
        let y = x.batch_norm(Some(&w), Some(&b), stats.0, stats.1, true, MOMENTUM, EPSILON, true);
        tch::no_grad(|| {
            let average = |t: &Tensor| t.view([groups, channels]).mean_dim(0, false, Kind::Float);
            mean.shallow_clone().copy_(&average(&group_mean));
            variance.shallow_clone().copy_(&average(&group_variance));
        });
        let apart = [&[ghost, groups, channels], rest].concat();
        y.view(apart.as_slice()).transpose(0, 1).reshape(&size)
    }

    /// Drops a share `dropout` of the activations in training and scales the others up (Srivastava et al. 2014).
    pub fn dropout(&self, x: &Tensor) -> Tensor {
        self.dropout_of(x, self.get("dropout"))
    }

    /// The same with a share of one's own.
    pub fn dropout_of(&self, x: &Tensor, share: f64) -> Tensor {
        if !self.is_training() || share == 0.0 {
            return x.shallow_clone();
        }
        self.seed(Stream::Dropout);
        x.dropout(share, true)
    }

    /// Self-attention of `heads` heads over x \[batch, time, width\], in which nothing sees what comes after it (Vaswani et
    /// al. 2017).
    #[track_caller]
    pub fn causal_attention(&self, name: &str, x: &Tensor, heads: i64) -> Tensor {
        let size = x.size();
        let &[batch, time, width] = size.as_slice() else {
            panic!("the layer `{name}` wants [batch, time, width] and got {size:?}");
        };
        if width % heads != 0 {
            panic!("the layer `{name}`: a width of {width} cannot be shared by {heads} heads");
        }
        let parts = self.linear(&format!("{name}.in"), x, 3 * width).chunk(3, -1);
        let apart = |part: &Tensor| part.view([batch, time, heads, width / heads]).transpose(1, 2);
        let (q, k, v) = (apart(&parts[0]), apart(&parts[1]), apart(&parts[2]));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, false);
        self.linear(&format!("{name}.out"), &mixed.transpose(1, 2).reshape(&size), width)
    }

    /// Images shifted by up to `pixels` in each direction, each by its own distance; what comes in is zero. For
    /// [`Workload::augment`](crate::Workload::augment).
    pub fn random_shift(&self, images: &Tensor, pixels: i64) -> Tensor {
        let size = images.size();
        let (batch, height, width) = (size[0], size[size.len() - 2], size[size.len() - 1]);
        self.seed(Stream::Augmentation);
        let padded = images.constant_pad_nd([pixels, pixels, pixels, pixels]).flatten(1, -1);
        let draw = || Tensor::randint(2 * pixels + 1, [batch, 1, 1], (Kind::Int64, images.device()));
        let (top, left) = (draw(), draw());
        let rows = Tensor::arange(height, (Kind::Int64, images.device())).view([1, height, 1]) + top;
        let columns = Tensor::arange(width, (Kind::Int64, images.device())).view([1, 1, width]) + left;
        let place = rows * (width + 2 * pixels) + columns;
        let channels = images.numel() as i64 / (batch * height * width);
        let plane = (height + 2 * pixels) * (width + 2 * pixels);
        let planes = padded.view([batch, channels, plane]);
        let place = place.view([batch, 1, height * width]).expand([batch, channels, height * width], false);
        planes.gather(2, &place, false).view(size.as_slice())
    }

    /// Images of which each is mirrored with probability ½. For [`Workload::augment`](crate::Workload::augment).
    pub fn random_mirror(&self, images: &Tensor) -> Tensor {
        let size = images.size();
        self.seed(Stream::Augmentation);
        let mut shape = vec![1; size.len()];
        shape[0] = size[0];
        let chosen = Tensor::rand(&shape, (Kind::Float, images.device())).lt(0.5);
        images.flip([-1]).where_self(&chosen, images)
    }

    /// What an operation gives, or a panic that names the layer and the shape that it got.
    #[track_caller]
    fn fitting(&self, name: &str, x: &Tensor, apply: impl FnOnce() -> Result<Tensor, tch::TchError>) -> Tensor {
        match apply() {
            Ok(y) => y,
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().next().unwrap_or_default().trim_start_matches("Internal torch error: ");
                panic!("the layer `{name}` got {:?} {:?}: {reason}", x.kind(), x.size())
            }
        }
    }
}

#[track_caller]
fn last(name: &str, x: &Tensor) -> i64 {
    match x.size().last() {
        Some(width) => *width,
        None => panic!("the layer `{name}` got a scalar, and wants at least one dimension"),
    }
}
