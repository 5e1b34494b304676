//! Fits the law y = α + βx with α, β > 0 by least squares in the logarithm of y.
//!
//! Two laws of this crate have this form: the time of a training step, t(b) = α + βb ([`crate::StepTime`]), and the
//! steps to a target, S(b) = S_min + S_min·B_noise·(1/b), in x = 1/b ([`crate::ScalingFit`]). The logarithm makes the
//! residuals relative errors, so that small and large batch sizes count alike.

/// The coefficients of y = α + βx.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coefficients {
    /// α, the value of y at x = 0, in the unit of y.
    pub alpha: f64,
    /// β, the slope, in the unit of y over that of x.
    pub beta: f64,
    /// The standard error of ln(β/α), by the residuals. None for fewer than three points, which have no residuals.
    pub ratio_error: Option<f64>,
}

/// The fit stops when ln α and ln β together change by less than this.
const TOLERANCE: f64 = 1e-10;
/// The fit stops after this many iterations.
const MAX_ITERATIONS: usize = 100;

/// Returns the α and β that minimize Σᵢ rᵢ², with the residuals rᵢ = ln yᵢ − ln mᵢ of the model mᵢ = α + βxᵢ.
///
/// The method is Gauss–Newton in ln α and ln β, which keeps both coefficients positive. With the derivatives J_α = ∂ln
/// mᵢ/∂ln α = α/mᵢ and J_β = ∂ln mᵢ/∂ln β = βxᵢ/mᵢ, each iteration solves the normal equations (JᵀJ) δ = Jᵀr and adds δ
/// to (ln α, ln β), each part limited to ±1. The iteration starts from the line through the first and the last point.
///
/// `points` are pairs (x, y) of positive numbers, ordered by x. Returns None for fewer than three points, or if a
/// coefficient is not finite.
pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Coefficients> {
    let (&(x_first, y_first), &(x_last, y_last)) = (points.first()?, points.last()?);
    if points.len() < 3 {
        return None;
    }
    let mut beta = ((y_last - y_first) / (x_last - x_first)).max(1e-9 * y_last / x_last);
    let mut alpha = (y_first - beta * x_first).max(1e-3 * y_first);
    let mut ratio_error = None;
    for _ in 0..MAX_ITERATIONS {
        // The sums of JᵀJ and Jᵀr over the points.
        let (mut jj_aa, mut jj_ab, mut jj_bb, mut jr_a, mut jr_b, mut rr) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y) in points {
            let model = alpha + beta * x;
            let (j_alpha, j_beta, residual) = (alpha / model, beta * x / model, (y / model).ln());
            jj_aa += j_alpha * j_alpha;
            jj_ab += j_alpha * j_beta;
            jj_bb += j_beta * j_beta;
            jr_a += j_alpha * residual;
            jr_b += j_beta * residual;
            rr += residual * residual;
        }
        // The small number keeps the division finite where the points cannot tell α and β apart.
        let determinant = jj_aa * jj_bb - jj_ab * jj_ab + 1e-12;
        // The variance of ln β − ln α: the entries of the inverse of JᵀJ, times the variance of the residuals.
        let variance = (jj_aa + jj_bb + 2.0 * jj_ab) / determinant * rr / (points.len() - 2) as f64;
        ratio_error = Some(variance.max(0.0).sqrt()).filter(|error| error.is_finite());
        let delta_alpha = (jj_bb * jr_a - jj_ab * jr_b) / determinant;
        let delta_beta = (jj_aa * jr_b - jj_ab * jr_a) / determinant;
        alpha *= delta_alpha.clamp(-1.0, 1.0).exp();
        beta *= delta_beta.clamp(-1.0, 1.0).exp();
        if delta_alpha.abs() + delta_beta.abs() < TOLERANCE {
            break;
        }
    }
    (alpha.is_finite() && beta.is_finite()).then_some(Coefficients { alpha, beta, ratio_error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coefficients_of_an_exact_law_are_found() {
        for (alpha, beta) in [(1e-3, 1e-5), (100.0, 3e4), (1.0, 1e-6)] {
            let points: Vec<(f64, f64)> = (0..11).map(|k| f64::from(1 << k)).map(|x| (x, alpha + beta * x)).collect();
            let found = fit(&points).unwrap();
            assert!((found.alpha / alpha - 1.0).abs() < 1e-6, "{found:?}");
            assert!((found.beta / beta - 1.0).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn two_points_fit_any_law() {
        assert_eq!(fit(&[(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(fit(&[]), None);
    }
}
