//! Files that this program writes: whole and checked under their name, or not there at all.
//!
//! Owns partial files, the room that is left on a disk, and names that are taken. Must not know what the bytes are nor where
//! they come from.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use sha2::{Digest, Sha256};

use crate::base::text::bytes;

/// How partial files of ours end: others, browsers for one, have some that end in `.part` alone.
const PART: &str = ".nodewatch.part";
/// Names that are tried for a file when others have its own.
const NAMES: u32 = 1000;
/// Of a disk's room so much is left to everybody else: a fiftieth, and no more than this.
const LEFT_FREE: u64 = 256 * 1024 * 1024;

/// A file was not written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system said no.
    #[error("cannot write {path:?}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What it is made of cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It does not fit.
    #[error(
        "no space left for {path:?}: {} more are needed, {} are free, {} of them are left to others",
        bytes(*needed), bytes(*free), bytes(*kept)
    )]
    NoRoom {
        /// What.
        path: PathBuf,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// What is not taken of these.
        kept: u64,
    },
    /// More came than was asked for.
    #[error("{path:?} would be larger than the {} that it can have", bytes(*most))]
    TooLarge {
        /// What.
        path: PathBuf,
        /// Its bound.
        most: u64,
    },
    /// The disk has something else than was written.
    #[error("of {path:?} {found} bytes are on the disk, and {written} were written")]
    Short {
        /// What.
        path: PathBuf,
        /// On the disk.
        found: u64,
        /// Written.
        written: u64,
    },
}

/// The room of a disk: what is free, and how much of that is left to others. `None` where the system does not tell.
fn room(place: &Path) -> Option<(u64, u64)> {
    let facts = statvfs(place).ok()?;
    let all = facts.f_blocks.saturating_mul(facts.f_frsize);
    (all > 0).then(|| (facts.f_bavail.saturating_mul(facts.f_frsize), (all / 50).min(LEFT_FREE)))
}

/// The bytes that are free on a disk.
pub fn free(place: &Path) -> Option<u64> {
    room(place).map(|(free, _)| free)
}

/// A file that is being written beside its place. Dropped, it is gone.
#[derive(Debug)]
pub struct Part {
    file: File,
    path: PathBuf,
    folder: PathBuf,
    name: String,
    have: u64,
    most: u64,
    /// It has its name, and the partial file's may be somebody else's by now.
    named: bool,
}

impl Part {
    /// Begins a file of that name, which is to have at most so many bytes. The folder is made where it is missing, and what
    /// a program that was killed has left in it is removed.
    pub fn begin(folder: &Path, name: &str, most: u64) -> Result<Self, DiskError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DiskError::Write { path, source }
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
        sweep(folder);
        let (file, path) = open(folder, name).map_err(failed(&folder.join(name)))?;
        Ok(Self { file, path, folder: folder.to_owned(), name: name.to_owned(), have: 0, most, named: false })
    }

    /// Bytes so far.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Whether so many bytes more fit, within its bound and on the disk.
    pub fn fits(&self, more: u64) -> Result<(), DiskError> {
        if more > self.most.saturating_sub(self.have) {
            return Err(DiskError::TooLarge { path: self.folder.join(&self.name), most: self.most });
        }
        match room(&self.folder) {
            Some((free, kept)) if more > free.saturating_sub(kept) => {
                Err(DiskError::NoRoom { path: self.folder.join(&self.name), needed: more, free, kept })
            }
            _ => Ok(()),
        }
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.fits(bytes.len() as u64)?;
        self.file.write_all(bytes).map_err(|source| self.failed(source, bytes.len() as u64))?;
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Puts it on the disk and reads it from there again.
    pub fn finish(mut self) -> Result<Whole, DiskError> {
        let synced = self.file.sync_all();
        synced.map_err(|source| self.failed(source, 0))?;
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| sum_of(&self.file));
        let (sha256, found) = read.map_err(|source| self.failed(source, 0))?;
        if found != self.have {
            return Err(DiskError::Short { path: self.folder.join(&self.name), found, written: self.have });
        }
        Ok(Whole { part: self, sha256 })
    }

    /// [`Self::begin`] on a thread that may wait for a disk.
    pub async fn begun(folder: PathBuf, name: String, most: u64) -> Result<Self, DiskError> {
        let path = folder.join(&name);
        aside(path, move || Self::begin(&folder, &name, most)).await
    }

    /// [`Self::write`] on a thread that may wait for a disk.
    pub async fn with(mut self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Self, DiskError> {
        aside(self.path.clone(), move || self.write(bytes.as_ref()).map(|()| self)).await
    }

    fn failed(&self, source: io::Error, needed: u64) -> DiskError {
        let path = self.folder.join(&self.name);
        match (source.kind(), room(&self.folder)) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, Some((free, kept))) => {
                DiskError::NoRoom { path, needed, free, kept: kept.min(free) }
            }
            _ => DiskError::Write { path, source },
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.named {
            // It is swept later where this fails.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file that is on the disk, every byte of it, and has no name yet.
#[derive(Debug)]
pub struct Whole {
    part: Part,
    /// Of what the disk has.
    pub sha256: String,
}

impl Whole {
    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.part.have
    }

    /// What it holds.
    pub fn read(&self) -> Result<impl Read, DiskError> {
        let mut file = self.part.file.try_clone().map_err(|source| self.part.failed(source, 0))?;
        file.seek(SeekFrom::Start(0)).map_err(|source| self.part.failed(source, 0))?;
        Ok(file)
    }

    /// Gives it its name, or, when another file has that, the name with a number; where it is. One that is there already
    /// with the same bytes stays the only one.
    pub fn keep(self) -> Result<PathBuf, DiskError> {
        self.name(Self::is_same)
    }

    fn name(mut self, is_it: impl Fn(&Self, &Path) -> bool) -> Result<PathBuf, DiskError> {
        let wanted = self.part.folder.join(&self.part.name);
        let failed = |source| DiskError::Write { path: wanted.clone(), source };
        for path in numbered(&wanted) {
            match rename_to_free(&self.part.path, &path) {
                Ok(()) => {
                    self.part.named = true;
                    return sync_folder(&self.part.folder).map(|()| path).map_err(failed);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_it(&self, &path) {
                        return Ok(path);
                    }
                }
                Err(source) => return Err(failed(source)),
            }
        }
        Err(failed(too_many()))
    }

    /// Takes the place of an earlier one of its own.
    fn replace(mut self) -> Result<PathBuf, DiskError> {
        let path = self.part.folder.join(&self.part.name);
        fs::rename(&self.part.path, &path).map_err(|source| self.part.failed(source, 0))?;
        self.part.named = true;
        sync_folder(&self.part.folder).map_err(|source| self.part.failed(source, 0)).map(|()| path)
    }

    fn is_same(&self, path: &Path) -> bool {
        has_size(path, self.size()) && has_sum(path, &self.sha256)
    }
}

/// Whether a file of that name may be one that was written here: there is one of that size.
pub fn has_size(path: &Path, size: u64) -> bool {
    // A pipe would be waited for, and a link leads who knows where.
    fs::symlink_metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == size)
}

fn has_sum(path: &Path, sha256: &str) -> bool {
    File::open(path).and_then(|file| sum_of(&file)).is_ok_and(|(sum, _)| sum == sha256)
}

/// The file of that name, or of that name with a number, that has these bytes.
pub fn find(wanted: &Path, size: u64, sha256: &str) -> Option<PathBuf> {
    let mut there = numbered(wanted).take_while(|path| fs::symlink_metadata(path).is_ok());
    there.find(|path| has_size(path, size) && has_sum(path, sha256))
}

/// Does it on a thread that may wait for a disk.
pub async fn aside<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(DiskError::Write { path, source: io::Error::other(broken) }))
}

/// Writes a file that only its owner can read. A name that is taken gets a number.
pub fn write_new(path: &Path, contents: &[u8]) -> Result<PathBuf, DiskError> {
    written(path, contents)?.name(|_, _| false)
}

/// Writes a file that only its owner can read, in place of what is there.
pub fn write_over(path: &Path, contents: &[u8]) -> Result<PathBuf, DiskError> {
    written(path, contents)?.replace()
}

fn written(path: &Path, contents: &[u8]) -> Result<Whole, DiskError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut part = Part::begin(path.parent().unwrap_or(Path::new(".")), &name, u64::MAX)?;
    part.write(contents)?;
    part.finish()
}

/// Reads a regular file that has at most so many bytes. Nothing is waited for: a pipe or a device is refused, as it may never
/// end.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Without waiting for whoever would write to a pipe.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    bounded(file, most)
}

/// Reads whatever has that name, which may be a pipe: at most so many bytes.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?, most)
}

fn bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    // At most a byte more than is taken.
    file.take(most + 1).read_to_end(&mut read)?;
    if read.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {}", bytes(most))));
    }
    Ok(read)
}

/// Gives a file a name that nobody has; an error that it exists when somebody has.
pub fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know the question.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
        },
        renamed => Ok(renamed?),
    }
}

/// A new name is on the disk too.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder)?.sync_all() {
        // Some file systems know no such thing.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Marks a partial file as one that somebody writes.
pub fn hold(file: &File) -> bool {
    // Where nothing can be locked nothing is swept either.
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn sum_of(mut file: &File) -> io::Result<(String, u64)> {
    let (mut hash, mut buffer, mut size) = (Sha256::new(), vec![0; 256 * 1024], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((crate::base::text::hex(&hash.finalize()), size)),
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

/// What a file holds: its bytes and their SHA-256.
pub fn size_and_sum(path: &Path) -> io::Result<(u64, String)> {
    let (sum, size) = sum_of(&File::open(path)?)?;
    Ok((size, sum))
}

fn numbered(path: &Path) -> impl Iterator<Item = PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
    let more = (2..=NAMES).map({
        let path = path.to_owned();
        move |number| path.with_file_name(format!("{stem}-{number}{extension}"))
    });
    std::iter::once(path.to_owned()).chain(more)
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{NAMES} files of that name are there already"))
}

/// A partial file of its own for everybody who writes one of that name.
fn open(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    for number in 1..=NAMES {
        let number = if number == 1 { String::new() } else { format!(".{number}") };
        let path = folder.join(format!("{name}{number}{PART}"));
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(0o600).open(&path) {
            // Who sweeps may have been quicker.
            Ok(file) if hold(&file) && file.metadata()?.nlink() > 0 => return Ok((file, path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(too_many())
}

/// Whether a partial file of this program has such a name. That of a merge has the number of a process.
fn is_ours(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let merged = name.strip_suffix(".part").and_then(|name| name.rsplit_once(".pcapng."));
    name.ends_with(PART) || merged.is_some_and(|(_, process)| is_number(process))
}

/// Removes partial files of ours that nobody writes any more.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !is_ours(&name.to_string_lossy()) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // It is tried again by the next one.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn whole(folder: &Path, name: &str, contents: &[u8]) -> Whole {
        let mut part = Part::begin(folder, name, 100).expect("begun");
        part.write(contents).expect("written");
        part.finish().expect("on the disk")
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once_and_reading_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let [fifo, file] = ["fifo", "file"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        for path in [&fifo, Path::new("/dev/zero"), folder.path()] {
            let error = read_regular(path, 10).expect_err("refused").to_string();
            assert!(error.contains("not a regular file"), "{path:?}: {error}");
        }
        fs::write(&file, b"0123456789").expect("written");
        assert_eq!(read_regular(&file, 10).expect("read"), b"0123456789");
        assert!(read_at_most(Path::new("/dev/zero"), 9).expect_err("refused").to_string().contains("larger than 9 B"));
        assert!(read_regular(&file, 9).expect_err("refused").to_string().contains("larger than 9 B"));
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut part = Part::begin(folder.path(), "a.pcapng", 4).expect("begun");
        part.write(b"abcd").expect("written");
        assert!(matches!(part.write(b"e"), Err(DiskError::TooLarge { most: 4, .. })));
        assert_eq!(names(folder.path()), ["a.pcapng.nodewatch.part"]);
        drop(part);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn what_the_disk_does_not_have_is_not_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut part = Part::begin(folder.path(), "a.pcapng", 100).expect("begun");
        part.write(b"abcd").expect("written");
        // As after a write whose error came late.
        let path = folder.path().join("a.pcapng.nodewatch.part");
        File::options().write(true).open(path).expect("open").set_len(0).expect("cut");
        assert!(matches!(part.finish(), Err(DiskError::Short { found: 0, written: 4, .. })));
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number_and_the_same_bytes_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        assert_eq!(whole(folder.path(), "a.pcapng", b"1").keep().expect("kept"), place("a.pcapng"));
        assert_eq!(whole(folder.path(), "a.pcapng", b"1").keep().expect("kept"), place("a.pcapng"));
        assert_eq!(whole(folder.path(), "a.pcapng", b"2").keep().expect("kept"), place("a-2.pcapng"));
        std::os::unix::fs::symlink("/dev/zero", place("b.pcapng")).expect("a link");
        assert_eq!(whole(folder.path(), "b.pcapng", b"2").keep().expect("kept"), place("b-2.pcapng"));
        assert_eq!(fs::read(place("a.pcapng")).expect("there"), b"1");
        assert_eq!(names(folder.path()), ["a-2.pcapng", "a.pcapng", "b-2.pcapng", "b.pcapng"]);
        assert_eq!(write_new(&place("a.pcapng"), b"1").expect("written"), place("a-3.pcapng"), "never what is there");
        assert_eq!(write_over(&place("a.pcapng"), b"3").expect("written"), place("a.pcapng"));
        assert_eq!(fs::read(place("a.pcapng")).expect("there"), b"3");
        let mode = place("a.pcapng").metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_that_write_the_same_name_do_not_meet_and_what_a_killed_one_left_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        for left in [
            "old.pcapng.nodewatch.part",
            "old.pcapng.2.nodewatch.part",
            "manifest-1.json.nodewatch.part",
            "merged.pcapng.4711.part",
            "thesis.part",
            "browser.pcapng.part",
        ] {
            fs::write(folder.path().join(left), "half").expect("written");
        }
        let mut one = Part::begin(folder.path(), "a.pcapng", 100).expect("begun");
        let mut other = Part::begin(folder.path(), "a.pcapng", 100).expect("begun");
        one.write(b"one").expect("written");
        other.write(b"other").expect("written");
        assert_eq!(
            names(folder.path()),
            ["a.pcapng.2.nodewatch.part", "a.pcapng.nodewatch.part", "browser.pcapng.part", "thesis.part"]
        );
        one.finish().and_then(Whole::keep).expect("kept");
        other.finish().and_then(Whole::keep).expect("kept");
        assert_eq!(names(folder.path()), ["a-2.pcapng", "a.pcapng", "browser.pcapng.part", "thesis.part"]);
    }

    #[test]
    fn room_is_asked_for_before_and_left_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = Part::begin(folder.path(), "a.pcapng", u64::MAX).expect("begun");
        let (free, kept) = room(folder.path()).expect("it tells");
        assert!(kept > 0);
        let error = part.fits(free.saturating_sub(kept / 2)).expect_err("too much");
        assert!(matches!(error, DiskError::NoRoom { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("are needed") && text.contains("are free"), "{text}");
        assert!(part.fits(1).is_ok());
    }
}
