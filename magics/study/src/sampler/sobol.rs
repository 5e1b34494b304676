//! Scrambled Sobol points: the direction numbers of Joe and Kuo in the order of the Gray code, with the nested uniform
//! scrambling of Owen, computed by a hash (Laine and Karras 2011, with the constants of Vegdahl).
//!
//! The first 2^k points of a coordinate fall into 2^k equal intervals, one into each.

use super::keyed::{Purpose, generator};
use rand_chacha::rand_core::Rng;

/// The primitive polynomials (each bit a coefficient) and the initial direction numbers of coordinates 1 to 63, from
/// the file new-joe-kuo-6.21201 of Stephen Joe and Frances Y. Kuo (2008), which is distributed under the licence BSD-3.
/// Coordinate 0 is the van der Corput sequence.
const JOE_KUO: [(u32, &[u32]); 63] = [
    (3, &[1]),
    (7, &[1, 3]),
    (11, &[1, 3, 1]),
    (13, &[1, 1, 1]),
    (19, &[1, 1, 3, 3]),
    (25, &[1, 3, 5, 13]),
    (37, &[1, 1, 5, 5, 17]),
    (41, &[1, 1, 5, 5, 5]),
    (47, &[1, 1, 7, 11, 19]),
    (55, &[1, 1, 5, 1, 1]),
    (59, &[1, 1, 1, 3, 11]),
    (61, &[1, 3, 5, 5, 31]),
    (67, &[1, 3, 3, 9, 7, 49]),
    (91, &[1, 1, 1, 15, 21, 21]),
    (97, &[1, 3, 1, 13, 27, 49]),
    (103, &[1, 1, 1, 15, 7, 5]),
    (109, &[1, 3, 1, 15, 13, 25]),
    (115, &[1, 1, 5, 5, 19, 61]),
    (131, &[1, 3, 7, 11, 23, 15, 103]),
    (137, &[1, 3, 7, 13, 13, 15, 69]),
    (143, &[1, 1, 3, 13, 7, 35, 63]),
    (145, &[1, 3, 5, 9, 1, 25, 53]),
    (157, &[1, 3, 1, 13, 9, 35, 107]),
    (167, &[1, 3, 1, 5, 27, 61, 31]),
    (171, &[1, 1, 5, 11, 19, 41, 61]),
    (185, &[1, 3, 5, 3, 3, 13, 69]),
    (191, &[1, 1, 7, 13, 1, 19, 1]),
    (193, &[1, 3, 7, 5, 13, 19, 59]),
    (203, &[1, 1, 3, 9, 25, 29, 41]),
    (211, &[1, 3, 5, 13, 23, 1, 55]),
    (213, &[1, 3, 7, 3, 13, 59, 17]),
    (229, &[1, 3, 1, 3, 5, 53, 69]),
    (239, &[1, 1, 5, 5, 23, 33, 13]),
    (241, &[1, 1, 7, 7, 1, 61, 123]),
    (247, &[1, 1, 7, 9, 13, 61, 49]),
    (253, &[1, 3, 3, 5, 3, 55, 33]),
    (285, &[1, 3, 1, 15, 31, 13, 49, 245]),
    (299, &[1, 3, 5, 15, 31, 59, 63, 97]),
    (301, &[1, 3, 1, 11, 11, 11, 77, 249]),
    (333, &[1, 3, 1, 11, 27, 43, 71, 9]),
    (351, &[1, 1, 7, 15, 21, 11, 81, 45]),
    (355, &[1, 3, 7, 3, 25, 31, 65, 79]),
    (357, &[1, 3, 1, 1, 19, 11, 3, 205]),
    (361, &[1, 1, 5, 9, 19, 21, 29, 157]),
    (369, &[1, 3, 7, 11, 1, 33, 89, 185]),
    (391, &[1, 3, 3, 3, 15, 9, 79, 71]),
    (397, &[1, 3, 7, 11, 15, 39, 119, 27]),
    (425, &[1, 1, 3, 1, 11, 31, 97, 225]),
    (451, &[1, 1, 1, 3, 23, 43, 57, 177]),
    (463, &[1, 3, 7, 7, 17, 17, 37, 71]),
    (487, &[1, 3, 1, 5, 27, 63, 123, 213]),
    (501, &[1, 1, 3, 5, 11, 43, 53, 133]),
    (529, &[1, 3, 5, 5, 29, 17, 47, 173, 479]),
    (539, &[1, 3, 3, 11, 3, 1, 109, 9, 69]),
    (545, &[1, 1, 1, 5, 17, 39, 23, 5, 343]),
    (557, &[1, 3, 1, 5, 25, 15, 31, 103, 499]),
    (563, &[1, 1, 1, 11, 11, 17, 63, 105, 183]),
    (601, &[1, 1, 5, 11, 9, 29, 97, 231, 363]),
    (607, &[1, 1, 5, 15, 19, 45, 41, 7, 383]),
    (617, &[1, 3, 7, 7, 31, 19, 83, 137, 221]),
    (623, &[1, 1, 1, 3, 23, 15, 111, 223, 83]),
    (631, &[1, 1, 5, 13, 31, 15, 55, 25, 161]),
    (637, &[1, 1, 3, 13, 25, 47, 39, 87, 257]),
];

/// The number of coordinates that the table has.
const COORDINATES: usize = JOE_KUO.len() + 1;

/// The direction numbers of a coordinate below [`COORDINATES`].
fn directions(coordinate: usize) -> [u32; 32] {
    let mut v = [0_u32; 32];
    let Some((polynomial, initial)) = coordinate.checked_sub(1).map(|k| JOE_KUO[k]) else {
        return std::array::from_fn(|k| 1 << (31 - k));
    };
    let degree = initial.len();
    for k in 0..32 {
        v[k] = match initial.get(k) {
            Some(number) => number << (31 - k),
            None => {
                let inner = (1..degree).filter(|i| polynomial >> (degree - i) & 1 == 1).map(|i| v[k - i]);
                inner.fold(v[k - degree] ^ (v[k - degree] >> degree), |sum, other| sum ^ other)
            }
        };
    }
    v
}

/// The unscrambled coordinate at an index, as 32 binary digits.
fn digits(directions: &[u32; 32], index: u32) -> u32 {
    let gray = index ^ (index >> 1);
    (0..32).filter(|bit| gray >> bit & 1 == 1).fold(0, |sum, bit| sum ^ directions[bit])
}

/// Flips each digit or not, by a hash of the digits before it.
fn owen(digits: u32, seed: u32) -> u32 {
    let mut x = digits.reverse_bits();
    x ^= x.wrapping_mul(0x3d20_adea);
    x = x.wrapping_add(seed);
    x = x.wrapping_mul((seed >> 16) | 1);
    x ^= x.wrapping_mul(0x0552_6c56);
    x ^= x.wrapping_mul(0x53a2_2864);
    x.reverse_bits()
}

/// One coordinate of a scrambled sequence.
pub(super) struct Coordinate {
    directions: [u32; 32],
    seed: u32,
    /// Reorders the points. Coordinates that share their direction numbers differ in it.
    order: Option<u32>,
}

impl Coordinate {
    /// Coordinate `k` (from 0). Each `sequence` has a scrambling of its own.
    pub(super) fn new(seed: u64, sequence: u64, k: usize) -> Self {
        let key = |part: u64| generator(Purpose::Scramble, seed, (sequence << 32) | k as u64, part).next_u64() as u32;
        let block = k / COORDINATES;
        let order =
            (block > 0).then(|| generator(Purpose::Scramble, seed, sequence << 32, 1 + block as u64).next_u64() as u32);
        Self { directions: directions(k % COORDINATES), seed: key(0), order }
    }

    /// The point at an index, in [0, 1).
    pub(super) fn at(&self, index: u64) -> f64 {
        let index = self.order.map_or(index as u32, |seed| owen(index as u32, seed));
        f64::from(owen(digits(&self.directions, index), self.seed)) / 4_294_967_296.0
    }
}

/// Coordinate `k` (from 0) of the point at `index`, in [0, 1).
pub(super) fn scrambled(seed: u64, sequence: u64, k: usize, index: u64) -> f64 {
    Coordinate::new(seed, sequence, k).at(index)
}

#[cfg(test)]
mod tests {
    use super::super::halton::tests::{RANDOM, centred_discrepancy, discrepancies};
    use super::*;

    fn plain(k: usize, index: u32) -> f64 {
        f64::from(digits(&directions(k), index)) / 4_294_967_296.0
    }

    #[test]
    fn unscrambled_points_are_those_of_scipy() {
        let expected = [
            [0.0, 0.0, 0.0, 0.0],
            [0.5, 0.5, 0.5, 0.5],
            [0.75, 0.25, 0.25, 0.25],
            [0.25, 0.75, 0.75, 0.75],
            [0.375, 0.375, 0.625, 0.875],
            [0.875, 0.875, 0.125, 0.375],
            [0.625, 0.125, 0.875, 0.625],
            [0.125, 0.625, 0.375, 0.125],
        ];
        for (i, point) in expected.iter().enumerate() {
            assert_eq!(&std::array::from_fn::<f64, 4, _>(|k| plain(k, i as u32)), point);
        }
        let points: Vec<_> = (0..16).map(|i| vec![plain(0, i), plain(1, i)]).collect();
        assert!((centred_discrepancy(&points) - 0.003_624_386_257_595_313_4).abs() < 1e-12);
        // Computed with scipy 1.17: `qmc.Sobol(64, scramble=False).random(101)[100]`.
        let last = [(1, 0.2578125), (7, 0.4765625), (20, 0.7578125), (40, 0.7109375), (63, 0.6484375)];
        for (k, value) in last {
            assert_eq!(plain(k, 100), value, "coordinate {k}");
        }
    }

    #[test]
    fn as_many_points_as_a_power_of_two_fall_into_different_intervals() {
        for k in [0, 1, 5, 63, 64, 130] {
            for seed in 0..10 {
                let mut strata: Vec<usize> = (0..64).map(|i| (scrambled(seed, 0, k, i) * 64.0) as usize).collect();
                strata.sort_unstable();
                assert!(strata.into_iter().eq(0..64), "coordinate {k}, seed {seed}");
            }
        }
    }

    /// The median of the squared centred discrepancy over 1,000 seeds, measured with the scrambled Sobol points of
    /// scipy 1.17: (d, n, median).
    const SCIPY: [(usize, u64, f64); 20] = [
        (1, 10, 2.8413e-03),
        (1, 20, 7.1980e-04),
        (1, 50, 1.5208e-04),
        (1, 100, 3.8343e-05),
        (2, 10, 8.1812e-03),
        (2, 20, 2.2260e-03),
        (2, 50, 4.7814e-04),
        (2, 100, 1.3071e-04),
        (3, 10, 1.7523e-02),
        (3, 20, 5.3032e-03),
        (3, 50, 1.1517e-03),
        (3, 100, 3.3870e-04),
        (5, 10, 6.2600e-02),
        (5, 20, 2.0919e-02),
        (5, 50, 5.3932e-03),
        (5, 100, 1.5910e-03),
        (8, 10, 2.2406e-01),
        (8, 20, 9.2070e-02),
        (8, 50, 2.6903e-02),
        (8, 100, 9.1682e-03),
    ];

    #[test]
    fn the_discrepancy_is_at_most_a_tenth_above_that_of_scipy() {
        for (d, n, reference) in SCIPY {
            let all = discrepancies(d, n, |seed, k, i| scrambled(seed, 0, k, i));
            assert!(all[50] <= 1.1 * reference, "d {d}, n {n}: median {} over 1.1 · {reference}", all[50]);
        }
    }

    #[test]
    fn the_first_points_are_more_even_than_nine_tenths_of_random_ones() {
        for (d, n, tenth) in RANDOM {
            let all = discrepancies(d, n, |seed, k, i| scrambled(seed, 0, k, i));
            assert!(all[89] < tenth, "d {d}, n {n}: nine tenths are below {} only, not {tenth}", all[89]);
        }
    }

    #[test]
    fn coordinates_are_uniform_and_uncorrelated_over_seeds() {
        for (a, b) in [(0, 1), (3, 67), (0, 64)] {
            let (mut sum, mut product) = (0.0, 0.0);
            for seed in 0..2000 {
                let (x, y) = (scrambled(seed, 0, a, 5) - 0.5, scrambled(seed, 0, b, 5) - 0.5);
                sum += x;
                product += 12.0 * x * y;
            }
            assert!((sum / 2000.0).abs() < 0.03 && (product / 2000.0).abs() < 0.1, "{a} {b}: {sum} {product}");
        }
    }
}
