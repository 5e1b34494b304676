//! Estimated shares and probabilities in per cent.

/// An estimated share or probability in per cent, with so many decimals. An estimate cannot say that something never or
/// always happens. So one that is nearer to 0 or to 100 than a unit of the last decimal is given as a bound, as in
/// `less than 1 %` and `more than 99 %`.
pub fn estimated_percent(share: f64, decimals: usize) -> String {
    let (percent, unit) = (100.0 * share, 0.1_f64.powi(decimals as i32));
    if percent < unit {
        format!("less than {unit:.decimals$} %")
    } else if percent > 100.0 - unit {
        format!("more than {:.decimals$} %", 100.0 - unit)
    } else {
        format!("{percent:.decimals$} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_never_said_to_be_none_or_all() {
        let whole = |share| estimated_percent(share, 0);
        assert_eq!([whole(0.0), whole(1e-9), whole(0.0099)], ["less than 1 %"; 3]);
        assert_eq!([whole(1.0), whole(0.9901)], ["more than 99 %"; 2]);
        assert_eq!([whole(0.014), whole(0.5), whole(0.98)], ["1 %", "50 %", "98 %"]);
        let tenths = |share| estimated_percent(share, 1);
        assert_eq!([tenths(0.0), tenths(0.002), tenths(0.0449)], ["less than 0.1 %", "0.2 %", "4.5 %"]);
        assert_eq!(tenths(1.0), "more than 99.9 %");
    }
}
