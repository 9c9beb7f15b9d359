//! Kills the collector while it is under load. In: how often, and a seed. Out: as many lives as
//! asked for. Points are counted in acknowledgements, so that every kill falls into the load
//! whatever the machine's speed. Half of the kills leave a torn frame at the end of the log.

use std::{
    io::{Read, Seek, SeekFrom, Write},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{collector::Collector, replay::Replay};

/// How often the acknowledgements are looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Bytes before a frame's payload in a log segment: length and checksum.
const FRAME_HEADER_BYTES: i64 = 8;

/// Kills `kills` times, spread over the deck, and starts the collector again each time.
pub(crate) fn kill_often(
    collector: &mut Collector,
    replay: &Arc<Replay>,
    kills: u64,
    seed: u64,
    ended: impl Fn() -> bool,
) -> anyhow::Result<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let requests = replay.deck.requests;
    for kill in 0..kills {
        let (from, to) = (kill * requests / kills, (kill + 1) * requests / kills);
        let at = random.random_range(from..to.max(from + 1));
        // Somewhere between two syncs, a seal, a commit.
        let longer = Duration::from_micros(random.random_range(0..20_000));
        while replay.acknowledged.load(Ordering::Relaxed) < at {
            if ended() {
                return Ok(kill);
            }
            std::thread::sleep(LOOK);
        }
        std::thread::sleep(longer);
        collector.kill()?;
        if random.random() {
            tear(collector, &mut random)?;
        }
        collector.start()?;
    }
    Ok(kills)
}

/// What a write that never finished leaves: the beginning of a frame behind the last whole one.
fn tear(collector: &Collector, random: &mut StdRng) -> anyhow::Result<()> {
    let Some(mut segment) = collector.newest_segment()? else {
        return Ok(());
    };
    loop {
        let mut length = [0; 4];
        let read = segment.read(&mut length)?;
        let length_in_bytes = i64::from(u32::from_le_bytes(length));
        if read < length.len() || length_in_bytes == 0 {
            segment.seek(SeekFrom::Current(-i64::try_from(read)?))?;
            break;
        }
        segment.seek(SeekFrom::Current(length_in_bytes + FRAME_HEADER_BYTES - 4))?;
    }
    let mut torn = vec![0; random.random_range(1..600)];
    random.fill(torn.as_mut_slice());
    let claimed: u32 = random.random_range(600..5000);
    let claimed = claimed.to_le_bytes();
    let known = torn.len().min(claimed.len());
    torn[..known].copy_from_slice(&claimed[..known]);
    segment.write_all(&torn)?;
    segment.sync_all()?;
    Ok(())
}
