//! NVIDIA boards. In: NVIDIA's library, loaded when a line starts; that it is not there is normal.
//! Out: joules of all boards it shows, whoever used them. Boards since Volta count millijoules,
//! older ones say their power. A Jetson's library starts and then knows neither: it has no board
//! to read, and its rail is read instead.

use std::{fmt::Debug, time::Duration};

use super::{Integral, SAMPLING, Source};

/// Their counters move every 20 to 100 ms, so ten times that tells power to a tenth.
const BOARD_SAMPLING: Duration = Duration::from_secs(1);

/// What the library says, board by board. `None` where a board cannot say it.
pub(super) trait Boards: Debug + Send {
    fn count(&self) -> u32;
    /// Since the driver was loaded.
    fn millijoules(&self, board: u32) -> Option<u64>;
    /// Now, or over the last second.
    fn milliwatts(&self, board: u32) -> Option<u32>;
}

#[derive(Debug)]
pub(super) struct Gpus<B> {
    boards: B,
    meters: Vec<Meter>,
}

#[derive(Debug)]
enum Meter {
    Counter { last: Option<u64> },
    Power(Integral),
}

/// All boards, or none when one of them cannot be read: a part must not be taken for the whole.
pub(super) fn find_in<B: Boards>(boards: B) -> Option<Gpus<B>> {
    let meter = |board| {
        if boards.millijoules(board).is_some() {
            return Some(Meter::Counter { last: None });
        }
        boards.milliwatts(board)?;
        Some(Meter::Power(Integral::default()))
    };
    let meters: Vec<_> = (0..boards.count()).map(meter).collect::<Option<_>>()?;
    (!meters.is_empty()).then_some(Gpus { boards, meters })
}

impl<B> Gpus<B> {
    /// How often to look.
    pub(super) fn sampling(&self) -> Duration {
        let counted = |meter: &Meter| matches!(meter, Meter::Counter { .. });
        if self.meters.iter().all(counted) {
            BOARD_SAMPLING
        } else {
            SAMPLING
        }
    }
}

impl<B: Boards> Source for Gpus<B> {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let boards = &self.boards;
        let joules = (0..).zip(&mut self.meters);
        let joules = joules.map(|(board, meter)| meter.joules(boards, board, at));
        // Every board is read each time, whether or not another failed.
        let joules: Vec<_> = joules.collect();
        joules.into_iter().sum()
    }
}

impl Meter {
    fn joules(&mut self, boards: &impl Boards, board: u32, at: f64) -> Option<f64> {
        match self {
            Self::Counter { last } => {
                let now = boards.millijoules(board);
                let before = std::mem::replace(last, now)?;
                // Less than before: the driver was loaded again, and what was used is not known.
                Some(now?.checked_sub(before)? as f64 / 1e3)
            }
            Self::Power(integral) => {
                let watts = boards.milliwatts(board).map(|milli| f64::from(milli) / 1e3);
                integral.joules(at, watts)
            }
        }
    }
}

#[cfg(feature = "nvml")]
pub(super) use library::find;

#[cfg(feature = "nvml")]
mod library {
    use nvml_wrapper::Nvml;

    use super::{Boards, Gpus, find_in};

    /// The boards of this machine. The library may take a second to start.
    pub(in crate::energy) fn find() -> Option<Gpus<Nvml>> {
        match Nvml::init() {
            Ok(nvml) => find_in(nvml),
            Err(error) => {
                tracing::debug!(%error, "no NVIDIA board is read");
                None
            }
        }
    }

    impl Boards for Nvml {
        fn count(&self) -> u32 {
            self.device_count().unwrap_or_default()
        }

        fn millijoules(&self, board: u32) -> Option<u64> {
            let board = self.device_by_index(board).ok()?;
            board.total_energy_consumption().ok()
        }

        fn milliwatts(&self, board: u32) -> Option<u32> {
            self.device_by_index(board).ok()?.power_usage().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What each board answers: millijoules and milliwatts.
    type Answers = Arc<Mutex<Vec<(Option<u64>, Option<u32>)>>>;

    #[derive(Debug)]
    struct Fake(Answers);

    impl Boards for Fake {
        fn count(&self) -> u32 {
            self.0.lock().unwrap().len() as u32
        }

        fn millijoules(&self, board: u32) -> Option<u64> {
            self.0.lock().unwrap()[board as usize].0
        }

        fn milliwatts(&self, board: u32) -> Option<u32> {
            self.0.lock().unwrap()[board as usize].1
        }
    }

    fn gpus(answers: &[(Option<u64>, Option<u32>)]) -> (Answers, Option<Gpus<Fake>>) {
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        (Arc::clone(&answers), find_in(Fake(answers)))
    }

    #[test]
    fn counters_of_all_boards_add_up() {
        let (answers, gpus) = gpus(&[(Some(5_000), Some(99)), (Some(70_000), None)]);
        let mut gpus = gpus.unwrap();
        assert_eq!(gpus.sampling(), BOARD_SAMPLING);
        assert_eq!(gpus.joules(0.0), None);
        *answers.lock().unwrap() = vec![(Some(6_500), None), (Some(72_000), None)];
        assert_eq!(gpus.joules(1.0), Some(3.5));
    }

    #[test]
    fn an_older_board_is_integrated_from_its_power() {
        let (answers, gpus) = gpus(&[(None, Some(20_000)), (Some(0), None)]);
        let mut gpus = gpus.unwrap();
        assert_eq!(gpus.sampling(), SAMPLING);
        gpus.joules(0.0);
        *answers.lock().unwrap() = vec![(None, Some(40_000)), (Some(1_000), None)];
        assert_eq!(gpus.joules(0.5), Some(16.0));
    }

    #[test]
    fn a_driver_that_was_loaded_again_leaves_a_gap_and_no_jump() {
        let (answers, gpus) = gpus(&[(Some(90_000), None)]);
        let mut gpus = gpus.unwrap();
        gpus.joules(0.0);
        answers.lock().unwrap()[0].0 = Some(10);
        assert_eq!(gpus.joules(1.0), None);
        answers.lock().unwrap()[0].0 = Some(1_010);
        assert_eq!(gpus.joules(2.0), Some(1.0));
        answers.lock().unwrap()[0].0 = None;
        assert_eq!(gpus.joules(3.0), None);
    }

    #[test]
    fn a_jetson_has_no_board_and_part_of_a_machine_is_not_the_whole() {
        assert!(gpus(&[]).1.is_none());
        assert!(gpus(&[(None, None)]).1.is_none());
        assert!(gpus(&[(Some(1), Some(1)), (None, None)]).1.is_none());
    }
}
