//! The factors of a symmetric positive matrix. They are computed here and not by a library, because libraries choose
//! their instructions by the processor and then round differently, and proposals must be the same on every platform.

use super::math::{add_multiple, dot};

/// A square matrix, row after row.
#[derive(Clone)]
pub struct Square {
    pub n: usize,
    entries: Vec<f64>,
}

impl Square {
    pub fn zero(n: usize) -> Self {
        Self { n, entries: vec![0.0; n * n] }
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.entries[i * self.n..(i + 1) * self.n]
    }

    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.entries[i * self.n..(i + 1) * self.n]
    }

    /// The lower factor of Cholesky of the matrix whose lower half is given. None if it is not positive.
    pub fn cholesky(mut self) -> Option<Self> {
        let n = self.n;
        for i in 0..n {
            let (above, rest) = self.entries.split_at_mut(i * n);
            let row = &mut rest[..n];
            for j in 0..i {
                let other = &above[j * n..j * n + j + 1];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[i] = pivot.sqrt();
        }
        Some(self)
    }

    /// The inverse of a lower triangular matrix.
    pub fn lower_inverse(&self) -> Self {
        let n = self.n;
        let mut inverse = Self::zero(n);
        for i in 0..n {
            let (above, rest) = inverse.entries.split_at_mut(i * n);
            let (row, factor) = (&mut rest[..n], self.row(i));
            for k in 0..i {
                add_multiple(&mut row[..=k], -factor[k], &above[k * n..=k * n + k]);
            }
            row[i] = 1.0;
            row[..=i].iter_mut().for_each(|x| *x /= factor[i]);
        }
        inverse
    }

    /// The lower half of Lᵀ L for a lower triangular L.
    pub fn gram(&self) -> Self {
        let n = self.n;
        let mut product = Self::zero(n);
        for k in 0..n {
            let row = self.row(k);
            for i in 0..=k {
                add_multiple(&mut product.entries[i * n..=i * n + i], row[i], &row[..=i]);
            }
        }
        product
    }

    /// L v for a lower triangular L.
    pub fn lower_times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| dot(&self.row(i)[..=i], &v[..=i])).collect()
    }

    /// Lᵀ v for a lower triangular L.
    pub fn lower_transposed_times(&self, v: &[f64]) -> Vec<f64> {
        let mut result = vec![0.0; self.n];
        for i in 0..self.n {
            add_multiple(&mut result[..=i], v[i], &self.row(i)[..=i]);
        }
        result
    }
}
