//! Capture files of any form, as `diagnose` reads them and as `merge` writes them anew.
#![no_main]

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use libfuzzer_sys::fuzz_target;
use nodewatch_fuzz::{
    captures::{diagnose::diagnose, merge::Merge},
    seeds,
};
use nodewatch_pcapng::{Block, Reader};
use rustix::fs::{MemfdFlags, memfd_create};

/// Two files in memory, which have names as long as they are open.
static FILES: LazyLock<[File; 2]> = LazyLock::new(|| {
    [0, 1].map(|_| File::from(memfd_create("capture", MemfdFlags::CLOEXEC).expect("a file in memory")))
});

fn put(file: &File, bytes: &[u8]) -> PathBuf {
    file.set_len(0).and_then(|()| file.write_all_at(bytes, 0)).expect("written");
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fuzz_target!(init: seeds::plant("files"), |data: &[u8]| {
    let whole = put(&FILES[0], data);
    // What is torn is read as far as it goes.
    let torn = put(&FILES[1], &data[..data.len() / 2]);
    if let Ok(diagnosis) = diagnose(vec![whole.clone(), torn.clone()]) {
        let told: u64 = diagnosis.pairs.iter().map(|(_, counts)| counts.packets.iter().sum::<u64>()).sum();
        assert!(told <= diagnosis.totals.packets, "{diagnosis:?}");
    }
    let merge = |pair| Merge { inputs: vec![whole.clone(), torn.clone()], window: 0..=u64::MAX, names: Default::default(), pair };
    for pair in [None, Some(1_000_000_000)] {
        let mut written = Vec::new();
        if let Ok(merged) = merge(pair).write(&mut written, Path::new("written")) {
            assert_eq!(packets(&written), Ok(merged.packets), "{merged:?}");
        }
    }
});

/// How many packets a file has that we have written; everything in it can be read.
fn packets(bytes: &[u8]) -> Result<u64, String> {
    let (mut reader, mut packets) = (Reader::of_others(bytes, 1 << 16), 0);
    while let Some(block) = reader.next_block().map_err(|error| error.to_string())? {
        packets += u64::from(matches!(block, Block::Packet(_)));
    }
    Ok(packets)
}
