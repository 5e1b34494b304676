//! The layers of a [`Net`]. A layer adapts to the shape of the input that it sees in the first forward pass.

use super::{Init, Net};
use crate::libtorch::{asked_for, is_out_of_memory};
use crate::randomness::Stream;
use tch::{Kind, Tensor};

/// The settings of a convolution ([`Net::conv2d`]) beside its number of channels.
///
/// ```
/// # use tunebook_training::prelude::*;
/// let halving = Convolution::same(3).stride(2).without_bias();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// The side of the square kernel in pixels.
    pub kernel: i64,
    /// The distance between two outputs in pixels of the input.
    pub stride: i64,
    /// The width in pixels of the zeros that are added on each side of the image.
    pub padding: i64,
    /// Whether a bias is added to each channel. Before a batch norm it has no effect.
    pub bias: bool,
}

impl Convolution {
    /// A convolution with stride 1 and a bias that keeps the size of the image if `kernel` is odd: its padding is
    /// (kernel − 1) / 2.
    pub fn same(kernel: i64) -> Self {
        Self { kernel, stride: 1, padding: (kernel - 1) / 2, bias: true }
    }

    /// Changes the stride. With a stride of 2, `Convolution::same` halves height and width, rounded up.
    pub fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// Removes the bias.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }
}

impl Net<'_> {
    /// A fully connected layer: y = x·Wᵀ + b, from x \[…, inputs\] to y \[…, units\].
    ///
    /// Its parameters are `NAME.weight` \[units, inputs\] (initially [`Init::He`]) and `NAME.bias` \[units\] (initially
    /// 0).
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net, x: &Tensor) -> Tensor {
    /// net.linear("hidden", x, 64).relu()
    /// # }
    /// ```
    #[track_caller]
    pub fn linear(&self, name: &str, x: &Tensor, units: i64) -> Tensor {
        let inputs = last_dimension(name, x);
        let weight = self.parameter(&format!("{name}.weight"), &[units, inputs], Init::He { fan_in: inputs });
        let bias = self.parameter(&format!("{name}.bias"), &[units], Init::Constant(0.0));
        self.checked(name, x, || x.f_linear(&weight, Some(&bias)))
    }

    /// A convolution with a square kernel, from images \[batch, inputs, height, width\] to images
    /// \[batch, channels, …, …\] of the size that stride and padding give.
    ///
    /// Its parameters are `NAME.weight` \[channels, inputs, kernel, kernel\] (initially [`Init::He`]) and, if it has a
    /// bias, `NAME.bias` \[channels\] (initially 0). It panics if x does not have four dimensions.
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn f(net: &Net, images: &Tensor) -> Tensor {
    /// net.conv2d("first", images, 16, Convolution::same(3)).relu()
    /// # }
    /// ```
    #[track_caller]
    pub fn conv2d(&self, name: &str, x: &Tensor, channels: i64, convolution: Convolution) -> Tensor {
        let size = x.size();
        let &[_, inputs, _, _] = size.as_slice() else {
            panic!(
                "the layer `{name}` wants images [batch, channels, height, width], but its input has the shape {size:?}"
            );
        };
        let Convolution { kernel: k, stride: s, padding: p, bias } = convolution;
        let init = Init::He { fan_in: inputs * k * k };
        let weight = self.parameter(&format!("{name}.weight"), &[channels, inputs, k, k], init);
        let bias = bias.then(|| self.parameter(&format!("{name}.bias"), &[channels], Init::Constant(0.0)));
        self.checked(name, x, || x.f_conv2d(&weight, bias.as_ref(), [s, s], [p, p], [1, 1], 1))
    }

    /// Looks up a trained vector for each index: from indices \[…\] (i64, 0 to `count` − 1) to vectors \[…, width\].
    ///
    /// Its parameter is `NAME.weight` \[count, width\] (initially normal with standard deviation 1/√width).
    pub fn embedding(&self, name: &str, indices: &Tensor, count: i64, width: i64) -> Tensor {
        let deviation = 1.0 / (width as f64).sqrt();
        let weight = self.parameter(&format!("{name}.weight"), &[count, width], Init::Normal { deviation });
        Tensor::embedding(&weight, indices, -1, false, false)
    }

    /// Layer normalization over the last dimension of x \[…, width\] (Ba et al. 2016):
    /// y = w (x − mean) / √(variance + 10⁻⁵) + b.
    ///
    /// Its parameters are `NAME.weight` \[width\] (initially 1) and `NAME.bias` \[width\] (initially 0).
    #[track_caller]
    pub fn layer_norm(&self, name: &str, x: &Tensor) -> Tensor {
        let width = last_dimension(name, x);
        let weight = self.parameter(&format!("{name}.weight"), &[width], Init::Constant(1.0));
        let bias = self.parameter(&format!("{name}.bias"), &[width], Init::Constant(0.0));
        x.layer_norm([width], Some(&weight), Some(&bias), 1e-5, true)
    }

    /// Batch normalization of each channel of x \[batch, channels, …\] (Ioffe and Szegedy 2015):
    /// y = w (x − mean) / √(variance + 10⁻⁵) + b.
    ///
    /// In training, mean and variance are those of each ghost batch of `ghost_batch_size` examples, however large the
    /// batch is (Hoffer et al. 2017; Playbook B15). Where the batch is no multiple of that size, the last ghost batch
    /// is smaller. With `ghost_batch_size` = 0, mean and variance are those of the whole forward pass. An evaluation
    /// uses running averages, which move by a tenth in each step towards the mean of the ghost batches' statistics
    /// (H12).
    ///
    /// Its parameters are `NAME.weight` \[channels\] (initially 1) and `NAME.bias` \[channels\] (initially 0); its
    /// buffers are `NAME.running_mean` and `NAME.running_variance`.
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
        let ghost: i64 = match self.get("ghost_batch_size") {
            0 => batch,
            ghost => batch.min(ghost),
        };
        // A single example has no variance, so it joins the ghost batch before it.
        let (groups, last) = match (batch / ghost, batch % ghost) {
            (groups, 1) if groups > 0 => (groups - 1, ghost + 1),
            whole => whole,
        };
        // Normalizes groups of the same size. Returns the output and the running averages as each group moves them.
        let normalize = |x: &Tensor, groups: i64| -> (Tensor, [Tensor; 2]) {
            // One call of libtorch normalizes all groups: the channels of each group become channels of their own,
            // [size of a group, groups · channels, …].
            let (count, rest) = (x.size()[0], &size[2..]);
            let apart = [&[groups, count / groups, channels], rest].concat();
            let folded = [&[count / groups, groups * channels], rest].concat();
            let folded = x.view(apart.as_slice()).transpose(0, 1).reshape(&folded);
            let [w, b, mean, variance] = [&weight, &bias, &mean, &variance].map(|t| t.repeat([groups]).contiguous());
            let (w, b, running) = (Some(&w), Some(&b), (Some(&mean), Some(&variance)));
            let y = folded.batch_norm(w, b, running.0, running.1, true, MOMENTUM, EPSILON, true);
            let apart = [&[count / groups, groups, channels], rest].concat();
            let y = y.view(apart.as_slice()).transpose(0, 1).reshape(x.size());
            (y, [mean, variance].map(|t| t.view([groups, channels])))
        };
        let (y, averages) = match (groups, last) {
            (groups, 0) => normalize(x, groups),
            (0, _) => normalize(x, 1),
            (groups, last) => {
                let parts = x.split_with_sizes([groups * ghost, last], 0);
                let ((y, averages), (last_y, last_averages)) = (normalize(&parts[0], groups), normalize(&parts[1], 1));
                let [mean, variance] = &averages;
                let [last_mean, last_variance] = &last_averages;
                let all = [Tensor::cat(&[mean, last_mean], 0), Tensor::cat(&[variance, last_variance], 0)];
                (Tensor::cat(&[y, last_y], 0), all)
            }
        };
        tch::no_grad(|| {
            for (running, of_groups) in [&mean, &variance].into_iter().zip(averages) {
                running.shallow_clone().copy_(&of_groups.mean_dim(0, false, Kind::Float));
            }
        });
        y
    }

    /// Dropout with the probability p that the hyperparameter `dropout` gives (Srivastava et al. 2014). In training,
    /// each activation becomes 0 with probability p, and the others are divided by 1 − p. An evaluation changes
    /// nothing.
    pub fn dropout(&self, x: &Tensor) -> Tensor {
        self.dropout_of(x, self.get("dropout"))
    }

    /// Dropout with a given probability, from 0 to below 1, instead of the hyperparameter `dropout`.
    pub fn dropout_of(&self, x: &Tensor, probability: f64) -> Tensor {
        if !self.is_training() || probability == 0.0 {
            return x.shallow_clone();
        }
        self.seed(Stream::Dropout);
        x.dropout(probability, true)
    }

    /// Causal multi-head self-attention over x \[batch, time, width\] (Vaswani et al. 2017): each position attends to
    /// itself and to earlier positions only. The output has the shape of x.
    ///
    /// Its parameters are those of two linear layers, `NAME.in` (queries, keys and values: 3 · width units) and
    /// `NAME.out` (width units). It panics if x does not have three dimensions or if `width` is not a multiple of
    /// `heads`.
    #[track_caller]
    pub fn causal_attention(&self, name: &str, x: &Tensor, heads: i64) -> Tensor {
        let size = x.size();
        let &[batch, time, width] = size.as_slice() else {
            panic!("the layer `{name}` wants an input [batch, time, width], but it has the shape {size:?}");
        };
        if width % heads != 0 {
            panic!("the layer `{name}`: its width of {width} is not a multiple of its {heads} heads");
        }
        let parts = self.linear(&format!("{name}.in"), x, 3 * width).chunk(3, -1);
        let apart = |part: &Tensor| part.view([batch, time, heads, width / heads]).transpose(1, 2);
        let (q, k, v) = (apart(&parts[0]), apart(&parts[1]), apart(&parts[2]));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, false);
        self.linear(&format!("{name}.out"), &mixed.transpose(1, 2).reshape(&size), width)
    }

    /// Shifts each image of a batch \[batch, …, height, width\] by a random whole number of pixels, from −`pixels` to
    /// `pixels`, down and to the right. The uncovered border is 0. For [`Workload::augment`](crate::Workload::augment).
    ///
    /// ```
    /// # use tunebook_training::prelude::*;
    /// # fn augment(net: &Net, images: &Tensor) -> Tensor {
    /// net.random_mirror(&net.random_shift(images, 2))
    /// # }
    /// ```
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

    /// Mirrors each image of a batch \[batch, …, height, width\] left to right with probability ½. For
    /// [`Workload::augment`](crate::Workload::augment).
    pub fn random_mirror(&self, images: &Tensor) -> Tensor {
        let size = images.size();
        self.seed(Stream::Augmentation);
        let mut shape = vec![1; size.len()];
        shape[0] = size[0];
        let chosen = Tensor::rand(&shape, (Kind::Float, images.device())).lt(0.5);
        images.flip([-1]).where_self(&chosen, images)
    }

    /// Returns the result of an operation of libtorch. If that fails, it panics with the layer's name and, unless
    /// memory ran out, the type and shape of its input.
    #[track_caller]
    fn checked(&self, name: &str, x: &Tensor, apply: impl FnOnce() -> Result<Tensor, tch::TchError>) -> Tensor {
        match apply() {
            Ok(y) => y,
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().next().unwrap_or_default().trim_start_matches("Internal torch error: ");
                if is_out_of_memory(&error) {
                    panic!("{}", out_of_memory(name, &error, reason));
                }
                panic!(
                    "the layer `{name}` cannot take an input of type {:?} and shape {:?}: {reason}",
                    x.kind(),
                    x.size()
                )
            }
        }
    }
}

/// That memory ran out in a layer. Its input is not to blame.
fn out_of_memory(name: &str, error: &str, reason: &str) -> String {
    match asked_for(error) {
        Some(amount) => format!("out of memory in the layer `{name}`, which asked for {amount}"),
        None => format!("out of memory in the layer `{name}`: {reason}"),
    }
}

/// Returns the size of the last dimension of a layer's input.
#[track_caller]
fn last_dimension(name: &str, x: &Tensor) -> i64 {
    match x.size().last() {
        Some(width) => *width,
        None => panic!("the layer `{name}` wants at least one dimension, but its input is a scalar"),
    }
}
