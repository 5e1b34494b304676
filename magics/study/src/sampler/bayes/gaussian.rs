//! A Gaussian process with the Matérn-5/2 kernel, a length scale for each column (ARD), and the priors of Google Vizier
//! (`tuned_gp_models.py`).

use super::math::dot;
use super::matrix::Square;
use super::minimize::minimize;

/// A parameter of the kernel: the range of its logarithm, and the centre of its prior.
struct Prior {
    low: f64,
    high: f64,
    centre: f64,
}

/// The variance of the function, that of the noise, and the square of each length scale.
const SIGNAL: Prior = Prior { low: 1e-3, high: 10.0, centre: 0.039 };
const NOISE: Prior = Prior { low: 1e-10, high: 1.0, centre: 0.0039 };
const LENGTH: Prior = Prior { low: 1e-2, high: 1e2, centre: 0.5 };
/// The weight of all priors: 0.01 · ln(x / centre)² is added to the negative logarithm of the likelihood.
const WEIGHT: f64 = 0.01;
/// The two other starts of the fit have length scales whose squares are these.
const STARTS: [f64; 3] = [1.0, 0.1, 10.0];
/// How often the likelihood is evaluated from each start, and then from the best of them.
const EVALUATIONS: (usize, usize) = (6, 30);

const SQRT_5: f64 = 2.236_067_977_499_79;

/// Points, one after the other.
#[derive(Clone, Default)]
pub struct Points {
    /// For each column, whether only the equality of two values matters.
    pub categorical: Vec<bool>,
    pub rows: Vec<Vec<f64>>,
}

impl Points {
    fn difference(&self, column: usize, a: f64, b: f64) -> f64 {
        match self.categorical[column] {
            true => f64::from(a != b),
            false => a - b,
        }
    }
}

/// The parameters of the kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub signal: f64,
    pub noise: f64,
    /// 1 / the square of the length scale of each column.
    weights: Vec<f64>,
}

impl Kernel {
    fn of(logarithms: &[f64]) -> Self {
        let exp = |x: &f64| libm::exp(*x);
        let weights = logarithms[2..].iter().map(|x| libm::exp(-*x)).collect();
        Self { signal: exp(&logarithms[0]), noise: exp(&logarithms[1]), weights }
    }

    /// The covariance at a squared scaled distance, and its derivative by the distance's square, with the sign changed.
    fn covariance(&self, squared: f64) -> (f64, f64) {
        let r = SQRT_5 * squared.sqrt();
        let decay = self.signal * libm::exp(-r);
        ((1.0 + r + r * r / 3.0) * decay, 5.0 / 6.0 * (1.0 + r) * decay)
    }
}

/// A Gaussian process that has learnt values at points. Further points may have no value; they lower the variance
/// around them.
pub struct Process {
    pub kernel: Kernel,
    /// First the points with values.
    points: Points,
    /// The weights of the points with values in a mean.
    alpha: Vec<f64>,
    /// The inverse of the lower factor of the covariance of all points.
    inverse: Square,
}

/// A prediction with its derivatives by the columns of the point.
pub struct Prediction {
    pub mean: f64,
    pub deviation: f64,
    pub mean_slope: Vec<f64>,
    pub deviation_slope: Vec<f64>,
}

impl Prediction {
    /// The slopes of the mean and of the standard deviation by each column.
    pub fn slopes(&self) -> impl Iterator<Item = (f64, f64)> {
        self.mean_slope.iter().copied().zip(self.deviation_slope.iter().copied())
    }
}

impl Process {
    /// Learns the values of the first points. The others have none.
    pub fn fit(points: Points, values: &[f64]) -> Option<Self> {
        let columns = points.categorical.len();
        let known = Points { categorical: points.categorical.clone(), rows: points.rows[..values.len()].to_vec() };
        let likelihood = Likelihood::new(&known, values);
        let prior = |k: usize| match k {
            0 => SIGNAL,
            1 => NOISE,
            _ => LENGTH,
        };
        let bounds: Vec<(f64, f64)> =
            (0..columns + 2).map(|k| (libm::log(prior(k).low), libm::log(prior(k).high))).collect();
        let start = |length: f64| -> Vec<f64> {
            (0..columns + 2).map(|k| libm::log(if k < 2 { prior(k).centre } else { length })).collect()
        };
        let mut evaluate = |x: &[f64], gradient: &mut [f64]| likelihood.evaluate(x, gradient);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for length in STARTS {
            let mut x = start(length);
            let value = minimize(&mut evaluate, &mut x, &bounds, EVALUATIONS.0);
            if value.is_finite() && best.as_ref().is_none_or(|(least, _)| value < *least) {
                best = Some((value, x));
            }
        }
        let (_, mut x) = best?;
        minimize(&mut evaluate, &mut x, &bounds, EVALUATIONS.1);
        Self::with_kernel(Kernel::of(&x), points, values)
    }

    fn with_kernel(kernel: Kernel, points: Points, values: &[f64]) -> Option<Self> {
        let known = factor(&kernel, &points, values.len())?.lower_inverse();
        let alpha = known.lower_transposed_times(&known.lower_times(values));
        let inverse = match points.rows.len() == values.len() {
            true => known,
            false => factor(&kernel, &points, points.rows.len())?.lower_inverse(),
        };
        Some(Self { kernel, points, alpha, inverse })
    }

    fn squared_distance(&self, a: &[f64], b: &[f64]) -> f64 {
        squared_distance(&self.kernel, &self.points, a, b)
    }

    /// The mean and the standard deviation of the function at a point.
    pub fn predict(&self, point: &[f64]) -> (f64, f64) {
        let covariances: Vec<f64> =
            self.points.rows.iter().map(|row| self.kernel.covariance(self.squared_distance(row, point)).0).collect();
        let explained = self.inverse.lower_times(&covariances);
        (dot(&covariances, &self.alpha), self.deviation(&explained))
    }

    fn deviation(&self, explained: &[f64]) -> f64 {
        (self.kernel.signal - dot(explained, explained)).max(1e-12 * self.kernel.signal).sqrt()
    }

    /// The prediction at a point, with its derivatives.
    pub fn predict_with_slopes(&self, point: &[f64]) -> Prediction {
        let rows = &self.points.rows;
        let (covariances, slopes): (Vec<f64>, Vec<f64>) =
            rows.iter().map(|row| self.kernel.covariance(self.squared_distance(row, point))).unzip();
        let explained = self.inverse.lower_times(&covariances);
        let deviation = self.deviation(&explained);
        let weights = self.inverse.lower_transposed_times(&explained);
        let columns = point.len();
        let (mut mean_slope, mut deviation_slope) = (vec![0.0; columns], vec![0.0; columns]);
        for (i, row) in rows.iter().enumerate() {
            let alpha = self.alpha.get(i).copied().unwrap_or(0.0);
            for j in 0..columns {
                let by_column = -2.0 * slopes[i] * self.kernel.weights[j] * (point[j] - row[j]);
                mean_slope[j] += alpha * by_column;
                deviation_slope[j] -= weights[i] * by_column;
            }
        }
        deviation_slope.iter_mut().for_each(|slope| *slope /= deviation);
        Prediction { mean: dot(&covariances, &self.alpha), deviation, mean_slope, deviation_slope }
    }
}

fn squared_distance(kernel: &Kernel, points: &Points, a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for j in 0..a.len() {
        let difference = points.difference(j, a[j], b[j]);
        sum += kernel.weights[j] * difference * difference;
    }
    sum
}

/// The lower factor of the covariance of the first `n` points. If rounding made the matrix singular, more noise is
/// added.
fn factor(kernel: &Kernel, points: &Points, n: usize) -> Option<Square> {
    let mut covariance = Square::zero(n);
    for i in 0..n {
        for j in 0..i {
            let squared = squared_distance(kernel, points, &points.rows[i], &points.rows[j]);
            covariance.row_mut(i)[j] = kernel.covariance(squared).0;
        }
    }
    [0.0, 1e-10, 1e-8, 1e-6, 1e-4].into_iter().find_map(|jitter| {
        let mut matrix = covariance.clone();
        (0..n).for_each(|i| matrix.row_mut(i)[i] = kernel.signal * (1.0 + jitter) + kernel.noise);
        matrix.cholesky()
    })
}

/// The likelihood of values, as a function of the kernel's parameters.
struct Likelihood<'a> {
    values: &'a [f64],
    columns: usize,
    /// The squared differences of each pair of points in each column.
    differences: Vec<f64>,
}

impl<'a> Likelihood<'a> {
    fn new(points: &Points, values: &'a [f64]) -> Self {
        let columns = points.categorical.len();
        let mut differences = vec![];
        for i in 0..values.len() {
            for j in 0..i {
                let (a, b) = (&points.rows[i], &points.rows[j]);
                differences.extend((0..columns).map(|k| points.difference(k, a[k], b[k]).powi(2)));
            }
        }
        Self { values, columns, differences }
    }

    /// The negative logarithm of the likelihood and of the priors, and its derivatives.
    fn evaluate(&self, logarithms: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, columns) = (self.values.len(), self.columns);
        let kernel = Kernel::of(logarithms);
        let mut covariance = Square::zero(n);
        let mut slopes = Vec::with_capacity(n * n / 2);
        let mut pair = 0;
        for i in 0..n {
            let row = covariance.row_mut(i);
            for entry in &mut row[..i] {
                let differences = &self.differences[pair * columns..(pair + 1) * columns];
                let (value, slope) = kernel.covariance(dot(differences, &kernel.weights));
                *entry = value;
                slopes.push(slope);
                pair += 1;
            }
            row[i] = kernel.signal * (1.0 + 1e-10) + kernel.noise;
        }
        let covariances = covariance.clone();
        let Some(factor) = covariance.cholesky() else {
            gradient.fill(0.0);
            return f64::INFINITY;
        };
        let inverse = factor.lower_inverse();
        let whitened = inverse.lower_times(self.values);
        let alpha = inverse.lower_transposed_times(&whitened);
        let precision = inverse.gram();
        let mut value = 0.5 * dot(&whitened, &whitened);
        value += (0..n).map(|i| libm::log(factor.row(i)[i])).sum::<f64>();
        let (mut by_signal, mut by_noise, mut by_length) = (0.0, 0.0, vec![0.0; columns]);
        pair = 0;
        for i in 0..n {
            for j in 0..i {
                let weight = precision.row(i)[j] - alpha[i] * alpha[j];
                by_signal += weight * covariances.row(i)[j];
                let weight = weight * slopes[pair];
                let differences = &self.differences[pair * columns..(pair + 1) * columns];
                for k in 0..columns {
                    by_length[k] += weight * differences[k];
                }
                pair += 1;
            }
            let weight = 0.5 * (precision.row(i)[i] - alpha[i] * alpha[i]);
            by_signal += weight * kernel.signal;
            by_noise += weight * kernel.noise;
        }
        gradient[0] = by_signal;
        gradient[1] = by_noise;
        for k in 0..columns {
            gradient[2 + k] = by_length[k] * kernel.weights[k];
        }
        for (k, x) in logarithms.iter().enumerate() {
            let centre = match k {
                0 => SIGNAL.centre,
                1 => NOISE.centre,
                _ => LENGTH.centre,
            };
            let far = x - libm::log(centre);
            value += WEIGHT * far * far;
            gradient[k] += 2.0 * WEIGHT * far;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Points, Vec<f64>) {
        let rows: Vec<Vec<f64>> =
            (0..12).map(|i| vec![(i as f64 * 0.37) % 1.0, (i as f64 * 0.61) % 1.0, f64::from(i % 3)]).collect();
        let values = rows.iter().map(|p| (6.0 * p[0]).sin() * 0.3 + 0.2 * p[1] + 0.1 * p[2]).collect();
        (Points { categorical: vec![false, false, true], rows }, values)
    }

    #[test]
    fn the_slopes_of_the_likelihood_are_those_of_differences() {
        let (points, values) = example();
        let likelihood = Likelihood::new(&points, &values);
        let at = [-3.0, -5.0, -1.0, 0.3, 0.7];
        let mut gradient = [0.0; 5];
        likelihood.evaluate(&at, &mut gradient);
        for k in 0..5 {
            let moved = |by: f64| {
                let mut x = at;
                x[k] += by;
                likelihood.evaluate(&x, &mut [0.0; 5])
            };
            let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((numeric - gradient[k]).abs() < 1e-5 * (1.0 + numeric.abs()), "{k}: {numeric} {}", gradient[k]);
        }
    }

    #[test]
    fn a_process_passes_through_its_values_and_knows_its_slopes() {
        let (mut points, values) = example();
        points.rows.push(vec![0.5, 0.5, 1.0]);
        let process = Process::fit(points.clone(), &values).unwrap();
        for (row, value) in points.rows.iter().zip(&values) {
            let (mean, deviation) = process.predict(row);
            assert!((mean - value).abs() < 0.05 && deviation < 0.1, "{mean} {value} {deviation}");
        }
        let without = Process::with_kernel(
            process.kernel.clone(),
            Points { rows: points.rows[..12].to_vec(), ..points },
            &values,
        );
        let (without, at) = (without.unwrap(), [0.52, 0.47, 1.0]);
        assert_eq!(without.predict(&at).0, process.predict(&at).0, "a point without a value does not change the mean");
        assert!(process.predict(&at).1 < without.predict(&at).1, "it lowers the deviation");
        let predicted = process.predict_with_slopes(&at);
        assert!((predicted.deviation - process.predict(&at).1).abs() < 1e-12);
        for k in 0..2 {
            let moved = |by: f64| {
                let mut x = at;
                x[k] += by;
                process.predict(&x)
            };
            let (above, below) = (moved(1e-5), moved(-1e-5));
            assert!(((above.0 - below.0) / 2e-5 - predicted.mean_slope[k]).abs() < 1e-5);
            assert!(((above.1 - below.1) / 2e-5 - predicted.deviation_slope[k]).abs() < 1e-5);
        }
    }
}
