//! y = α + βx with α, β > 0, fitted in the logarithm of y: the time of a step against the batch size, and steps to a target
//! against its reciprocal.

/// The two coefficients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    /// y at x = 0.
    pub alpha: f64,
    /// What each x adds.
    pub beta: f64,
}

/// Least squares of log y: Gauss–Newton in the logarithms of α and β, from the line through the two ends. At least three
/// points, sorted by x.
pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Affine> {
    let (&(x0, y0), &(x1, y1)) = (points.first()?, points.last()?);
    if points.len() < 3 {
        return None;
    }
    let mut beta = ((y1 - y0) / (x1 - x0)).max(1e-9 * y1 / x1);
    let mut alpha = (y0 - beta * x0).max(1e-3 * y0);
    for _ in 0..100 {
        let (mut aa, mut ab, mut bb, mut ra, mut rb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y) in points {
            let model = alpha + beta * x;
            let (da, db, residual) = (alpha / model, beta * x / model, (y / model).ln());
            aa += da * da;
            ab += da * db;
            bb += db * db;
            ra += da * residual;
            rb += db * residual;
        }
        let determinant = aa * bb - ab * ab + 1e-12;
        let (step_a, step_b) = ((bb * ra - ab * rb) / determinant, (aa * rb - ab * ra) / determinant);
        alpha *= step_a.clamp(-1.0, 1.0).exp();
        beta *= step_b.clamp(-1.0, 1.0).exp();
        if step_a.abs() + step_b.abs() < 1e-10 {
            break;
        }
    }
    (alpha.is_finite() && beta.is_finite()).then_some(Affine { alpha, beta })
}
