//! Which files of one day are made one. In: the sizes of the files whose hours have closed. Out:
//! groups to rewrite. Pure. A file is not rewritten for the sake of a few small ones: each rewrite
//! makes a row's file half as large again at least, and a file of the target size rests.

/// How much larger than all smaller files of its group a file may be.
const DOMINANCE: u64 = 2;

/// A live file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) bytes: u64,
}

/// Files of one day that are to become one, at least `least` of them and about `target` bytes.
pub(super) fn groups(mut files: Vec<File>, least: usize, target: u64) -> Vec<Vec<File>> {
    files.retain(|file| file.bytes <= target / 2);
    files.sort_by(|a, b| (a.bytes, &a.path).cmp(&(b.bytes, &b.path)));
    let mut groups = vec![vec![]];
    let mut total = 0_u64;
    for file in files {
        let dominates = total > 0 && file.bytes > total.saturating_mul(DOMINANCE);
        if dominates || total + file.bytes > target {
            groups.push(vec![]);
            total = 0;
        }
        total += file.bytes;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups.retain(|group| group.len() >= least.max(2));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: usize, bytes: u64) -> File {
        let path = format!("{number:06}");
        File { path, bytes }
    }

    fn sizes(groups: &[Vec<File>]) -> Vec<Vec<u64>> {
        let sizes = |group: &Vec<File>| group.iter().map(|file| file.bytes).collect();
        groups.iter().map(sizes).collect()
    }

    #[test]
    fn small_files_are_joined_and_large_ones_rest() {
        let files = [3, 90, 3, 2, 51, 3].map(|bytes| file(0, bytes)).to_vec();
        assert_eq!(sizes(&groups(files, 4, 100)), [[2, 3, 3, 3]]);
    }

    #[test]
    fn too_few_files_wait_for_more() {
        let files = vec![file(0, 1), file(1, 1), file(2, 1)];
        assert!(groups(files.clone(), 4, 100).is_empty());
        assert_eq!(groups(files, 3, 100).len(), 1);
    }

    #[test]
    fn a_group_does_not_outgrow_the_target() {
        let files = (0..10).map(|number| file(number, 40)).collect();
        assert_eq!(sizes(&groups(files, 2, 100)), vec![vec![40, 40]; 5]);
    }

    /// A file a minute for four weeks, all into one day: the most that lateness can do.
    #[test]
    fn whoever_comes_late_again_and_again_makes_few_files_and_few_rewrites() {
        const COMMITS: usize = 40_000;
        let (target, mut live, mut rewritten, mut most) = (1 << 20, vec![], 0, 0);
        for number in 0..COMMITS {
            live.push(file(number, 1000));
            for group in groups(live.clone(), 8, target) {
                live.retain(|file| !group.contains(file));
                let bytes: u64 = group.iter().map(|file| file.bytes).sum();
                rewritten += bytes;
                live.push(file(COMMITS + number, bytes));
            }
            most = most.max(live.iter().filter(|file| file.bytes < target / 2).count());
        }
        let written = 1000 * COMMITS as u64;
        assert!(rewritten < 6 * written, "{}", rewritten / written);
        assert!(most < 40, "{most} small files");
        assert!(live.len() < 120, "{} files", live.len());
    }
}
