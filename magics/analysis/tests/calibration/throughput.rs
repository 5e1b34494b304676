//! Throughput: intervals where visits differ, and what is said of saturation near its limit.

use crate::surfaces::Random;
use tunebook_analysis::{BatchSizeTiming, PointState, Throughput, throughput};

/// Times sizes up to 64 in five visits of twenty blocks. `gain` is the factor of the last doubling; the others gain
/// 1.7. Visits differ by `between`, as standard deviations of the logarithm, and blocks within a visit by `within`.
fn measured(gain: f64, between: f64, within: f64, random: &mut Random) -> Throughput {
    let mut rate = 100.0;
    let mut sizes = vec![];
    for k in 0..7 {
        let batch_size = 1_u64 << k;
        rate *= if k == 6 { gain } else { 1.7 };
        let visit = |random: &mut Random| -> Vec<f64> {
            let disturbed = (between * random.normal()).exp() * batch_size as f64 / rate;
            (0..20).map(|_| disturbed * (within * random.normal()).exp()).collect()
        };
        let visits = (0..5).map(|_| visit(random)).collect();
        sizes.push(BatchSizeTiming { batch_size, state: PointState::Ok, visits, peak_memory_bytes: None });
    }
    throughput(&sizes, 0.0, None)
}

#[test]
fn the_interval_of_the_throughput_covers_it_although_visits_differ() {
    let mut random = Random::new(1);
    for between in [0.0, 0.03, 0.05, 0.08] {
        let (mut inside, mut gains_inside, mut all) = (0, 0, 0);
        for _ in 0..300 {
            let found = measured(1.4, between, 0.03, &mut random);
            let mut rate = 100.0;
            for point in &found.points {
                let gain = if point.batch_size == 64 { 1.4 } else { 1.7 };
                rate *= gain;
                let [low, high] = point.interval.unwrap();
                inside += u32::from((low..=high).contains(&rate));
                if let Some([low, high]) = point.gain_interval {
                    gains_inside += u32::from((low..=high).contains(&gain));
                }
                all += 1;
            }
        }
        let shares = [f64::from(inside) / f64::from(all), f64::from(gains_inside) / (f64::from(all) * 6.0 / 7.0)];
        println!("visits differ by {between}: {shares:?} covered");
        assert!(shares.iter().all(|share| (0.93..0.97).contains(share)), "{between}: {shares:?}");
    }
}

#[test]
fn saturation_is_claimed_or_denied_only_where_it_is_known() {
    let mut random = Random::new(2);
    for gain in [1.0, 1.05, 1.089, 1.095, 1.105, 1.12, 1.3, 1.8] {
        for between in [0.01, 0.04] {
            let (mut yes, mut no, mut unknown, mut reliable) = (0, 0, 0, 0);
            for _ in 0..300 {
                let found = measured(gain, between, 0.02, &mut random);
                if !found.reliable {
                    continue;
                }
                reliable += 1;
                match found.saturates {
                    Some(true) => yes += 1,
                    Some(false) => no += 1,
                    None => unknown += 1,
                }
                assert_eq!(found.saturates == Some(true), found.saturation == Some(32), "{found:?}");
                assert!(found.saturates.is_some() || found.visits_needed.is_none_or(|visits| visits > 5));
            }
            println!("a gain of {gain}, visits differ by {between}: {yes} saturate, {no} do not, {unknown} not known");
            let most = 0.025 + 3.0 * (0.025_f64 * 0.975 / f64::from(reliable)).sqrt();
            let wrong = if gain < 1.1 { no } else { yes };
            assert!(f64::from(wrong) <= most * f64::from(reliable), "{gain}, {between}: {wrong} of {reliable} wrong");
            if between == 0.01 && !(1.05..1.2).contains(&gain) {
                assert!(unknown == 0, "{gain}: {unknown} of {reliable} not known");
            }
        }
    }
}
