//! All devices at once. Owns their threads, and the streets they stand in: one a class, with its
//! season and its count of answers. In: how many, how busy, a seed, releases to install. Out:
//! devices that answer until told to stop, and what became of what they sent.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    device::{Device, Order},
    grammar::Grammar,
    model::Quantization,
    release::Release,
};

/// Devices that are judged together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    pub name: &'static str,
    pub quantization: Quantization,
}

/// The classes, each with one variant of the model. The last is the smallest hardware.
pub const CLASSES: [Class; 3] = [
    Class {
        name: "gateway",
        quantization: Quantization::F32,
    },
    Class {
        name: "kiosk",
        quantization: Quantization::F32,
    },
    Class {
        name: "panel",
        quantization: Quantization::Q8,
    },
];

/// Requests a second, over the whole fleet: a third of the time of two cores.
const REQUESTS_PER_SECOND: f64 = 108.0;
/// How many times as long people pause at night.
const NIGHT_PAUSES: u32 = 4;
/// Enough that a class can be shown with either of two versions: published views fold groups of
/// fewer than three devices into their parent.
const DEVICES_PER_CLASS_MIN: usize = 2 * DEVICES_SHOWN_MIN;
const DEVICES_SHOWN_MIN: usize = 3;
/// Part of a class that tries a new version first.
const TRYING_FIRST: usize = 4;
/// Room for candle's frames in a build without optimisation.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Where the devices of one class stand.
#[derive(Debug, Default)]
pub(crate) struct Street {
    closed: AtomicBool,
    /// Share of requests from the new season, as bits of an `f64`.
    share: AtomicU64,
    asked: AtomicU64,
    night: AtomicBool,
}

impl Street {
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    /// From one request to the next; longer at night.
    pub(crate) fn pause(&self, by_day: Duration) -> Duration {
        match self.night.load(Ordering::Relaxed) {
            true => by_day * NIGHT_PAUSES,
            false => by_day,
        }
    }

    pub(crate) fn count(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// How a fleet is made up.
pub struct Muster<'a> {
    /// Over all classes.
    pub devices: usize,
    pub seed: u64,
    /// Base URL of the collector's OTLP/HTTP door.
    pub endpoint: &'a str,
    /// For spools and weights.
    pub folder: &'a Path,
}

/// A device at work.
struct Post {
    class: Class,
    updates: mpsc::Sender<Arc<Release>>,
    thread: JoinHandle<Result<Sent>>,
}

/// Devices at work.
pub struct Fleet {
    streets: Vec<(Class, Arc<Street>)>,
    posts: Vec<Post>,
    seed: u64,
}

/// What became of what the fleet sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests answered.
    pub inferences: u64,
    /// Windows that the collector acknowledged.
    pub windows_stored: u64,
    pub windows_lost: u64,
}

impl Fleet {
    /// Switches every device on.
    pub fn start(muster: &Muster<'_>) -> Result<Self> {
        check_size(muster.devices)?;
        let mut fleet = Self {
            streets: vec![],
            posts: vec![],
            seed: muster.seed,
        };
        let grammar = Arc::new(Grammar::new());
        let release = Arc::new(Release::shipped(&muster.folder.join("shipped"))?);
        for class in CLASSES {
            let street = Arc::new(Street::default());
            fleet.streets.push((class, Arc::clone(&street)));
            for number in 1..=muster.devices / CLASSES.len() {
                let (updates, receiver) = mpsc::channel();
                let order = order(muster, (class, number), &release, receiver);
                let device = Device::start(order, Arc::clone(&grammar), Arc::clone(&street))?;
                let thread = thread::Builder::new()
                    .name(format!("{}-{number:02}", class.name))
                    .stack_size(STACK_BYTES)
                    .spawn(move || device.run());
                let thread = thread.context("cannot start a thread for a device")?;
                fleet.posts.push(Post {
                    class,
                    updates,
                    thread,
                });
            }
        }
        Ok(fleet)
    }

    /// Gives a release to a quarter of a class, drawn by lot; to how many devices.
    pub fn update_a_quarter(&self, class: &str, release: &Arc<Release>) -> usize {
        let posts = self.posts.iter().filter(|post| post.class.name == class);
        let mut posts: Vec<&Post> = posts.collect();
        posts.shuffle(&mut StdRng::seed_from_u64(self.seed));
        posts.truncate((posts.len() / TRYING_FIRST).max(DEVICES_SHOWN_MIN));
        for post in &posts {
            post.update(release);
        }
        posts.len()
    }

    /// Gives a release to every device; those that run it already go on.
    pub fn update_all(&self, release: &Arc<Release>) {
        self.posts.iter().for_each(|post| post.update(release));
    }

    pub fn devices(&self) -> usize {
        self.posts.len()
    }

    /// From now on `share` of what one class hears belongs to the new season.
    pub fn change_season(&self, class: &str, share: f64) {
        for (_, street) in self.streets.iter().filter(|(c, _)| c.name == class) {
            street.share.store(share.to_bits(), Ordering::Relaxed);
        }
    }

    /// Night falls or ends on every street.
    pub fn change_night(&self, night: bool) {
        for (_, street) in &self.streets {
            street.night.store(night, Ordering::Relaxed);
        }
    }

    /// Whether a device gave up; its reason comes out of `stop`.
    pub fn has_failed(&self) -> bool {
        self.posts.iter().any(|post| post.thread.is_finished())
    }

    /// Closes the streets and waits until every device has sent what it had. Blocks.
    pub fn stop(self) -> Result<Sent> {
        for (_, street) in &self.streets {
            street.closed.store(true, Ordering::Relaxed);
        }
        let mut sent = Sent::default();
        for post in self.posts {
            let by_device = post.thread.join();
            let by_device = by_device.map_err(|_| anyhow!("a device panicked"))??;
            sent.windows_stored += by_device.windows_stored;
            sent.windows_lost += by_device.windows_lost;
        }
        let streets = self.streets.iter();
        sent.inferences = streets.map(|(_, street)| street.asked()).sum();
        Ok(sent)
    }
}

/// Whether so many devices make equal classes that may be shown.
pub fn check_size(count: usize) -> Result<()> {
    let classes = CLASSES.len();
    ensure!(
        count.is_multiple_of(classes) && count >= DEVICES_PER_CLASS_MIN * classes,
        "cannot make {classes} equal classes of {count} devices; give a multiple of {classes} \
         from {} on",
        DEVICES_PER_CLASS_MIN * classes
    );
    Ok(())
}

impl Post {
    fn update(&self, release: &Arc<Release>) {
        // Nobody is there to take it once the device gave up; `has_failed` says so.
        let _ = self.updates.send(Arc::clone(release));
    }
}

fn order(
    muster: &Muster<'_>,
    (class, number): (Class, usize),
    release: &Arc<Release>,
    updates: mpsc::Receiver<Arc<Release>>,
) -> Order {
    let index = CLASSES.iter().position(|other| *other == class);
    let index = index.unwrap_or_default() * muster.devices + number;
    Order {
        class,
        number,
        // Far apart for neighbouring seeds, so that no two demos share a device's speech.
        seed: muster.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index as u64,
        endpoint: muster.endpoint.to_owned(),
        spool: muster.folder.join(format!("{}-{number:02}", class.name)),
        release: Arc::clone(release),
        updates,
        pause: Duration::from_secs_f64(muster.devices as f64 / REQUESTS_PER_SECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn muster(devices: usize, folder: &Path) -> Muster<'_> {
        Muster {
            devices,
            seed: 1,
            // Nobody listens on the discard port: windows wait in the spools.
            endpoint: "http://127.0.0.1:9",
            folder,
        }
    }

    #[test]
    fn a_fleet_that_cannot_be_split_says_how_many_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        for devices in [0, 15, 35] {
            let error = Fleet::start(&muster(devices, folder.path())).err().unwrap();
            assert!(
                error.to_string().contains("a multiple of 3 from 18 on"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_new_season_reaches_one_class_only() {
        let streets = CLASSES.map(|class| (class, Arc::new(Street::default())));
        let fleet = Fleet {
            streets: streets.into(),
            posts: vec![],
            seed: 1,
        };
        fleet.change_season("kiosk", 0.7);
        let shares: Vec<f64> = fleet.streets.iter().map(|(_, s)| s.share()).collect();
        assert_eq!(shares, [0.0, 0.7, 0.0]);
    }

    #[test]
    fn at_night_people_pause_longer() {
        let street = Arc::new(Street::default());
        let fleet = Fleet {
            streets: vec![(CLASSES[0], Arc::clone(&street))],
            posts: vec![],
            seed: 1,
        };
        let pauses = [true, false].map(|night| {
            fleet.change_night(night);
            street.pause(Duration::from_secs(1)).as_secs()
        });
        assert_eq!(pauses, [4, 1]);
    }

    #[test]
    fn every_device_has_a_seed_and_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let release = Arc::new(Release::shipped(folder.path()).unwrap());
        let (mut seeds, mut spools) = (vec![], vec![]);
        for class in CLASSES {
            for number in 1..=12 {
                let (_, updates) = mpsc::channel();
                let muster = muster(36, folder.path());
                let order = order(&muster, (class, number), &release, updates);
                seeds.push(order.seed);
                spools.push(order.spool);
            }
        }
        for count in [
            seeds.iter().collect::<std::collections::HashSet<_>>().len(),
            spools
                .iter()
                .collect::<std::collections::HashSet<_>>()
                .len(),
        ] {
            assert_eq!(count, 36);
        }
    }

    #[test]
    fn a_quarter_of_the_class_takes_a_release_and_then_everyone_does() {
        let folder = tempfile::tempdir().unwrap();
        let release = Arc::new(Release::shipped(folder.path()).unwrap());
        let updates = |fleet: &Fleet, receivers: &[mpsc::Receiver<Arc<Release>>]| {
            let taken = receivers.iter().map(|of| of.try_iter().count());
            let classes = fleet.posts.iter().map(|post| post.class.name);
            classes
                .zip(taken)
                .filter(|(_, count)| *count > 0)
                .collect::<Vec<_>>()
        };
        for (devices, expected) in [(12, 3), (6, 3), (16, 4)] {
            let (mut fleet, mut receivers) = (
                Fleet {
                    streets: vec![],
                    posts: vec![],
                    seed: 1,
                },
                vec![],
            );
            for class in CLASSES {
                for _ in 0..devices {
                    let (updates, receiver) = mpsc::channel();
                    receivers.push(receiver);
                    let thread = thread::spawn(|| Ok(Sent::default()));
                    fleet.posts.push(Post {
                        class,
                        updates,
                        thread,
                    });
                }
            }
            assert_eq!(fleet.update_a_quarter("kiosk", &release), expected);
            assert_eq!(updates(&fleet, &receivers), vec![("kiosk", 1); expected]);
            fleet.update_all(&release);
            assert_eq!(updates(&fleet, &receivers).len(), CLASSES.len() * devices);
        }
    }
}
