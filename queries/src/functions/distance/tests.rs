//! SQL gives what `stats` gives, null where nothing can be said, and an error that says why.

use datafusion::{
    arrow::{
        array::{Array, AsArray, BinaryArray},
        datatypes::Float64Type,
        record_batch::RecordBatch,
    },
    prelude::SessionContext,
};
use fathomline_wire::histogram::{ExponentialHistogram, Parts};
use proptest::prelude::*;

use super::{
    super::{packed::pack, register},
    *,
};
use crate::examples::histogram;

/// Asks over one row of two histograms and answers the first column.
async fn ask(
    sides: Option<(&ExponentialHistogram, &ExponentialHistogram)>,
    sql: &str,
) -> Result<Option<f64>, String> {
    let session = SessionContext::new();
    register(&mut *session.state_ref().write()).unwrap();
    if let Some((was, is)) = sides {
        let column = |of| Arc::new(BinaryArray::from_vec(vec![of])) as ArrayRef;
        let (was, is) = (pack(was), pack(is));
        let columns = [("was", column(was.as_slice())), ("is", column(&is))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        session.register_batch("pair", batch).unwrap();
    }
    let sql = match sides {
        Some(_) => format!("SELECT {sql} FROM pair"),
        None => format!("SELECT {sql}"),
    };
    let answer = match session.sql(&sql).await {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    let answer = answer.map_err(|error| error.strip_backtrace())?;
    let found = answer[0].column(0).as_primitive::<Float64Type>();
    Ok(found.is_valid(0).then(|| found.value(0)))
}

fn two() -> (ExponentialHistogram, ExponentialHistogram) {
    let values = |n: i32, by: f64| -> Vec<f64> {
        (1..n)
            .map(|i| by * (1.0 + f64::from(i % 37) * 0.21))
            .collect()
    };
    (histogram(&values(900, 1.0)), histogram(&values(300, 1.3)))
}

#[tokio::test]
async fn histograms_are_compared_on_bins_of_the_reference() {
    let (was, is) = two();
    let fine = Aligned::of(&was, &is);
    let cuts = reference_cuts(&fine.reference, 10);
    let (r, c) = (bin(&fine.reference, &cuts), bin(&fine.current, &cuts));
    assert_eq!(r.len(), 10);
    let test = chi_square(&r, &c).unwrap();
    let (all, some) = (was.count as f64, is.count as f64);
    let moved = wasserstein(&fine.reference, &fine.current, &fine.positions()).0;
    let expected = [
        ("drift_psi(was, is)", psi(&r, &c)),
        (
            "drift_psi_debiased(was, is)",
            psi_debiased(&r, &c, (all, some)),
        ),
        (
            "drift_psi_debiased(was, is, 50)",
            psi_debiased(&r, &c, (all, 50.0)),
        ),
        (
            "drift_jensen_shannon(was, is)",
            jensen_shannon_distance(&r, &c),
        ),
        ("drift_hellinger(was, is)", hellinger(&r, &c)),
        ("drift_ks(was, is)", ks(&fine.reference, &fine.current)),
        ("drift_wasserstein(was, is)", moved),
        ("drift_chi_square(was, is)", test.statistic),
        ("drift_chi_square_p(was, is)", test.p_value()),
        ("drift_cramers_v(was, is)", test.cramers_v),
    ];
    for (sql, expected) in expected {
        let found = ask(Some((&was, &is)), sql).await.unwrap().unwrap();
        assert_eq!(found.to_bits(), expected.to_bits(), "{sql}: {found}");
    }
}

#[tokio::test]
async fn lists_are_compared_bin_by_bin_in_the_unit_of_their_bounds() {
    let (r, c) = ([10, 30, 60], [30, 30, 40]);
    let lists = "[10, 30, 60], [30, NULL, 40]";
    let found = ask(None, &format!("drift_ks({lists})")).await.unwrap();
    assert_eq!(found, Some(ks(&r, &[30, 0, 40])));
    let lists = "[10, 30, 60], [30, 30, 40]";
    let found = ask(None, &format!("drift_psi({lists})")).await.unwrap();
    assert_eq!(found, Some(psi(&r, &c)));
    let found = ask(None, &format!("drift_wasserstein({lists}, [1.0, 2])")).await;
    assert!((found.unwrap().unwrap() - 0.4).abs() < 1e-12);
    let counts = "arrow_cast([1, 1], 'List(UInt32)'), arrow_cast([1, 1], 'LargeList(Int64)')";
    let found = ask(None, &format!("drift_cramers_v({counts})")).await;
    assert_eq!(found, Ok(Some(0.0)));
}

#[tokio::test]
async fn values_below_zero_are_in_their_place() {
    let (was, is) = (histogram(&[-8.0, -2.0, 0.0]), histogram(&[-8.0, 1.0, 0.0]));
    let ks = ask(Some((&was, &is)), "drift_ks(was, is)").await.unwrap();
    assert!((ks.unwrap() - 1.0 / 3.0).abs() < 1e-12, "{ks:?}");
    let moved = ask(Some((&was, &is)), "drift_wasserstein(was, is)").await;
    // A third of the mass went from about -2 to about 1.
    let moved = moved.unwrap().unwrap();
    assert!((0.9..1.1).contains(&moved), "{moved}");
}

#[tokio::test]
async fn nothing_to_compare_is_null() {
    let (was, empty) = (histogram(&[1.0, 2.0]), histogram(&[]));
    let constant = histogram(&[3.0; 9]);
    for distance in Distance::ALL {
        let name = distance.name();
        for (a, b) in [(&was, &empty), (&empty, &was), (&empty, &empty)] {
            let found = ask(Some((a, b)), &format!("{name}(was, is)")).await;
            assert_eq!(found, Ok(None), "{name}");
        }
        let found = ask(Some((&was, &was)), &format!("{name}(was, NULL)")).await;
        assert_eq!(found, Ok(None), "{name}");
        let bounds = match distance {
            Distance::Wasserstein => ", [1.0, 2.0]",
            _ => "",
        };
        let found = ask(None, &format!("{name}([1, 2, 3], [0, 0, 0]{bounds})")).await;
        assert_eq!(found, Ok(None), "{name}");
    }
    for sql in ["drift_psi([3], [4])", "drift_ks([], [])"] {
        assert_eq!(ask(None, sql).await, Ok(None), "{sql}");
    }
    // One bin tells nothing, however far the rest went; buckets do.
    let far = histogram(&[300.0; 9]);
    let found = ask(Some((&constant, &far)), "drift_psi(was, is)").await;
    assert_eq!(found, Ok(None));
    let found = ask(Some((&constant, &far)), "drift_ks(was, is)").await;
    assert_eq!(found, Ok(Some(1.0)));
}

#[tokio::test]
async fn disjoint_supports_and_other_scales_have_a_distance() {
    let was = histogram(&[1e-9, 2e-9, 3e-9]);
    let mut is = histogram(&[1e9, 2e9, 3e9]);
    is.downscale(2);
    let found = ask(Some((&was, &is)), "drift_ks(was, is)").await;
    assert_eq!(found, Ok(Some(1.0)));
    // Two bins for three records; what lies beyond the reference is in its last one.
    let found = ask(Some((&was, &is)), "drift_hellinger(was, is)").await;
    let expected = hellinger(&[2, 1], &[0, 3]);
    assert_eq!(found, Ok(Some(expected)));
    is.downscale(10);
    let found = ask(Some((&was, &is)), "drift_hellinger(was, is)").await;
    assert_eq!(
        found,
        Ok(None),
        "so coarse that all of the reference is one bin"
    );
}

#[tokio::test]
async fn what_cannot_be_compared_says_why() {
    let (was, is) = two();
    let refused = [
        ("drift_psi([1, 2], [1, 2, 3])", "not of 2 and 3"),
        ("drift_psi([1, -2], [1, 2])", "cannot count -2"),
        (
            "drift_psi([9223372036854775807, 9223372036854775807], [1, 2])",
            "counts up to",
        ),
        ("drift_psi(was, [1, 2])", "two histograms"),
        ("drift_psi('a', 'b')", "two histograms"),
        ("drift_psi(was)", "takes a reference"),
        ("drift_ks(was, is, 3)", "too many"),
        ("drift_psi(X'00ff', X'00ff')", "not a histogram"),
        ("drift_wasserstein([1, 2], [1, 2])", "explicit_bounds"),
        ("drift_wasserstein([1, 2], [1, 2], [1.0])", "two bounds"),
        (
            "drift_wasserstein([1, 2, 3], [1, 2, 3], [2.0, 1.0])",
            "ascend",
        ),
        (
            "drift_wasserstein([1, 2], [1, 2], [1.0, 2.0])",
            "2 counts for 2 bounds",
        ),
        ("drift_psi_debiased(was, is, 'NaN')", "no number"),
    ];
    for (sql, why) in refused {
        let error = ask(Some((&was, &is)), sql).await.expect_err(sql);
        assert!(error.contains(why), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_bucket_where_no_number_can_be_is_an_error() {
    let far = |offset: i32| {
        let positive = Buckets {
            offset,
            counts: vec![1, 1],
        };
        let parts = Parts {
            scale: 20,
            count: 2,
            positive,
            ..Parts::default()
        };
        ExponentialHistogram::from_parts(parts).unwrap()
    };
    let sides = (far(-(1 << 30) + 1), far((1 << 30) - 9));
    let (was, is) = (&sides.0, &sides.1);
    let ks = ask(Some((was, is)), "drift_ks(was, is)").await;
    assert_eq!(ks, Ok(Some(1.0)));
    let error = ask(Some((was, is)), "drift_wasserstein(was, is)").await;
    let error = error.unwrap_err();
    assert!(error.contains("no number can be"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn anything_that_unpacks_can_be_compared(
        scales in (-10i32..=20, -10i32..=20),
        offsets in prop::array::uniform4(-(1i32 << 30) + 1..(1 << 30) - 9),
        counts in prop::array::uniform4(prop::collection::vec(0u64..1000, 0..8)),
        zeros in (0u64..9, 0u64..9),
        thresholds in (prop::sample::select(vec![0.0, 0.5, 1e9]), prop::sample::select(vec![0.0, 2.0])),
    ) {
        let side = |at: usize, scale, zero_count, zero_threshold| {
            let buckets = |at: usize| Buckets { offset: offsets[at], counts: counts[at].clone() };
            let count = counts[at].iter().chain(&counts[at + 1]).sum::<u64>() + zero_count;
            let (positive, negative) = (buckets(at), buckets(at + 1));
            let parts = Parts { scale, zero_threshold, zero_count, count, positive, negative,
                ..Parts::default() };
            ExponentialHistogram::from_parts(parts).unwrap()
        };
        let was = side(0, scales.0, zeros.0, thresholds.0);
        let is = side(2, scales.1, zeros.1, thresholds.1);
        for distance in Distance::ALL {
            let found = distance.of(Pair::of_histograms(&was, &is), None);
            if let Ok(Some(found)) = found {
                prop_assert!(found.is_finite() && found >= 0.0, "{distance:?}: {found}");
            }
        }
        let pair = Pair::of_histograms(&was, &is);
        prop_assert_eq!(pair.reference.iter().sum::<u64>(), was.count);
        prop_assert_eq!(pair.current.iter().sum::<u64>(), is.count);
    }
}
