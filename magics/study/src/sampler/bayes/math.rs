//! Functions of numbers that are the same on every platform: sums in a fixed order, and `libm` in place of the
//! platform's library.

use std::f64::consts::PI;
use std::thread::ScopedJoinHandle;

/// ln √(2π).
pub const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// The sum of products. Eight sums run side by side, which a compiler can put into vector registers.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (mut sums, n) = ([0.0; 8], a.len().min(b.len()));
    let (a, b) = (&a[..n], &b[..n]);
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for k in 0..8 {
            sums[k] += x[k] * y[k];
        }
    }
    let rest: f64 = a.chunks_exact(8).remainder().iter().zip(b.chunks_exact(8).remainder()).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// Adds a multiple of a vector to another one.
pub fn add_multiple(to: &mut [f64], factor: f64, of: &[f64]) {
    for (x, y) in to.iter_mut().zip(of) {
        *x += factor * y;
    }
}

/// What a thread returns. A panic goes on in this thread.
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The density of the standard normal distribution.
pub fn density(z: f64) -> f64 {
    libm::exp(-0.5 * z * z - LN_SQRT_2PI)
}

/// The distribution function of the standard normal distribution.
pub fn probability(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Φ(−z) / φ(z) for z > 0, which neither overflows nor vanishes (Mills' ratio).
fn mills(z: f64) -> f64 {
    if z < 25.0 {
        return probability(-z) / density(z);
    }
    let s = 1.0 / (z * z);
    (1.0 - s * (1.0 - s * (3.0 - s * (15.0 - s * 105.0)))) / z
}

/// ln Φ(z) and its derivative.
pub fn ln_probability(z: f64) -> (f64, f64) {
    if z > -1.0 {
        let p = probability(z);
        return (libm::log(p), density(z) / p);
    }
    let ratio = mills(-z);
    (-0.5 * z * z - LN_SQRT_2PI + libm::log(ratio), 1.0 / ratio)
}

/// ln(φ(z) + z Φ(z)) and its derivative: the logarithm of the expected improvement in units of the standard deviation
/// (Ament and others, "Unexpected improvements to expected improvement", 2023). It is finite for every finite z.
pub fn ln_improvement(z: f64) -> (f64, f64) {
    if z > -1.0 {
        let (p, h) = (probability(z), density(z) + z * probability(z));
        return (libm::log(h), p / h);
    }
    let base = -0.5 * z * z - LN_SQRT_2PI;
    if z > -25.0 {
        let ratio = mills(-z);
        let rest = 1.0 + z * ratio;
        return (base + libm::log(rest), ratio / rest);
    }
    // Both factors as series in 1/z², because 1 − |z| Φ/φ would cancel.
    let s = 1.0 / (z * z);
    let series = 1.0 - s * (3.0 - s * (15.0 - s * 105.0));
    let ratio = mills(-z);
    (base - 2.0 * libm::log(-z) + libm::log(series), ratio * z * z / series)
}

/// The quantile function of the standard normal distribution: Acklam's approximation and one step of Halley's method.
pub fn quantile(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * libm::log(p)).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    let x = if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let (q, r) = (p - 0.5, (p - 0.5) * (p - 0.5));
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    };
    let u = (probability(x) - p) * (2.0 * PI).sqrt() * libm::exp(0.5 * x * x);
    x - u / (1.0 + 0.5 * x * u)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_tails_are_the_known_ones() {
        // Computed with scipy 1.17 for the first four, and with five terms of the asymptotic series for the others.
        for (z, value) in [
            (2.0, 0.697_383_545_788_228_4),
            (0.0, -0.918_938_533_204_672_7),
            (-1.0, -2.485_121_025_712_641_3),
            (-5.0, -16.744_301_162_660_925),
            (-24.9, -317.358_485_742_555_6),
            (-25.1, -322.374_409_872_361),
            (-1000.0, -500_014.734_452_091_16),
        ] {
            let found = ln_improvement(z).0;
            assert!((found - value).abs() <= 1e-8 * f64::max(1.0, -value), "{z}: {found}, not {value}");
        }
        for z in [-3000.0, -40.0, -25.0001, -24.9999, -10.0, -1.0001, -0.9999, 0.0, 3.0] {
            let step = 1e-5 * f64::max(1.0, f64::abs(z));
            for f in [ln_improvement, ln_probability] {
                let numeric = (f(z + step).0 - f(z - step).0) / (2.0 * step);
                let slope = f(z).1;
                assert!((numeric - slope).abs() <= 1e-4 * f64::max(1.0, slope), "{z}: {slope}, {numeric}");
            }
        }
    }

    #[test]
    fn the_quantile_is_the_reverse_of_the_probability() {
        for p in [1e-12, 1e-5, 0.02, 0.3, 0.5, 0.9, 0.999] {
            assert!((probability(quantile(p)) - p).abs() <= 1e-14 + 1e-12 * p, "{p}");
        }
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
    }
}
