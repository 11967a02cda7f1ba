//! A disk that keeps what was fsynced, and of everything else what chance leaves of it.
//!
//! A file's bytes are kept once the file is synced; a name, its removal or its change once the folder is. Until then a power cut may
//! keep any of the writes, each whole or in some of its sectors, and the first so many of the changes of names.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::record::Operation;
use crate::dice::Dice;

const SECTOR: u64 = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    Truncate { length: u64 },
}

#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
enum Naming {
    Link { path: PathBuf, node: Node },
    Rename { from: PathBuf, to: PathBuf, node: Node },
    Remove { path: PathBuf },
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    Nothing,
    Everything,
    Chance,
}

/// The files under a folder.
#[derive(Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    inodes: HashMap<u64, usize>,
    /// As the process sees them.
    seen: BTreeMap<PathBuf, Node>,
    /// As they are after a cut that leaves nothing.
    synced: BTreeMap<PathBuf, Node>,
    pending: Vec<Naming>,
}

type Names = BTreeMap<PathBuf, Node>;

impl Naming {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Link { path, .. } | Self::Remove { path } => path.parent(),
            Self::Rename { to, .. } => to.parent(),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { path, node } => drop(names.insert(path.clone(), *node)),
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Self::Remove { path } => drop(names.remove(path)),
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => write(bytes, *offset, data),
            Self::Truncate { length } => bytes.resize(*length as usize, 0),
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

impl Disk {
    /// Does one operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { inode, path } => {
                // A number is used again once the file that had it is gone.
                self.inodes.insert(*inode, self.files.len());
                let node = Node::File(self.files.len());
                self.files.push(File::default());
                self.name(Naming::Link { path: path.clone(), node });
            }
            Operation::MakeFolder { path } => self.name(Naming::Link { path: path.clone(), node: Node::Folder }),
            Operation::Rename { from, to } => {
                if let Some(node) = self.seen.get(from).copied() {
                    self.name(Naming::Rename { from: from.clone(), to: to.clone(), node });
                }
            }
            Operation::Remove { path } => self.name(Naming::Remove { path: path.clone() }),
            Operation::Write { inode, offset, data } => {
                self.change(*inode, Change::Write { offset: *offset, data: data.clone() });
            }
            Operation::Truncate { inode, length } => self.change(*inode, Change::Truncate { length: *length }),
            Operation::Sync { inode } => {
                if let Some(file) = self.inodes.get(inode).map(|place| &mut self.files[*place]) {
                    for change in std::mem::take(&mut file.pending) {
                        change.apply(&mut file.synced);
                    }
                }
            }
            Operation::SyncFolder { path } => self.sync_folder(path),
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.pending.push(naming);
    }

    fn change(&mut self, inode: u64, change: Change) {
        if let Some(place) = self.inodes.get(&inode) {
            self.files[*place].pending.push(change);
        }
    }

    fn sync_folder(&mut self, folder: &Path) {
        let (synced, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|naming| naming.folder() == Some(folder));
        self.pending = pending;
        for naming in synced {
            naming.apply(&mut self.synced);
            if let Naming::Rename { from, .. } = naming {
                // The name that it had before does not come back.
                self.pending.retain(|pending| !matches!(pending, Naming::Link { path, .. } if *path == from));
            }
        }
    }

    /// The files after a cut, with their bytes, and the folders, which have none.
    pub fn after_cut(&self, survival: Survival, dice: &mut Dice) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let namings = match survival {
            Survival::Nothing => 0,
            Survival::Everything => self.pending.len(),
            Survival::Chance => dice.index(self.pending.len() + 1),
        };
        let mut names = self.synced.clone();
        self.pending[..namings].iter().for_each(|naming| naming.apply(&mut names));
        let contents = |node: &Node, dice: &mut Dice| match node {
            Node::Folder => None,
            Node::File(place) => Some(self.files[*place].after_cut(survival, dice)),
        };
        names.iter().map(|(path, node)| (path.clone(), contents(node, dice))).collect()
    }
}

impl File {
    fn after_cut(&self, survival: Survival, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        // Most of it, about half, or little.
        let kept = [90, 50, 10][dice.index(3)];
        for change in &self.pending {
            match (survival, change) {
                (Survival::Nothing, _) => {}
                (Survival::Everything, change) => change.apply(&mut bytes),
                (Survival::Chance, Change::Write { offset, data }) if dice.percent(20) => tear(&mut bytes, *offset, data, dice),
                (Survival::Chance, change) => {
                    if dice.percent(kept) {
                        change.apply(&mut bytes);
                    }
                }
            }
        }
        bytes
    }
}

/// Writes some of the sectors.
fn tear(bytes: &mut Vec<u8>, offset: u64, data: &[u8], dice: &mut Dice) {
    let mut start = 0;
    while start < data.len() {
        let at = offset + start as u64;
        let end = data.len().min(start + (SECTOR - at % SECTOR) as usize);
        if dice.percent(50) {
            write(bytes, at, &data[start..end]);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        Path::new("/data").join(name)
    }

    fn disk(operations: &[Operation]) -> Disk {
        let mut disk = Disk::default();
        operations.iter().for_each(|operation| disk.apply(operation));
        disk
    }

    fn after(disk: &Disk, survival: Survival) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        disk.after_cut(survival, &mut Dice::new(1, 1))
    }

    #[test]
    fn a_cut_keeps_bytes_and_names_that_were_synced_and_no_others() {
        let disk = disk(&[
            Operation::Create { inode: 1, path: path("one") },
            Operation::Write { inode: 1, offset: 0, data: b"synced".to_vec() },
            Operation::Sync { inode: 1 },
            Operation::SyncFolder { path: path("") },
            Operation::Write { inode: 1, offset: 6, data: b" and not".to_vec() },
            Operation::Create { inode: 2, path: path("two") },
        ]);
        assert_eq!(after(&disk, Survival::Nothing), [(path("one"), Some(b"synced".to_vec()))].into());
        let everything = [(path("one"), Some(b"synced and not".to_vec())), (path("two"), Some(Vec::new()))];
        assert_eq!(after(&disk, Survival::Everything), everything.into());
    }

    #[test]
    fn a_file_whose_new_name_is_not_synced_has_its_old_name_or_none() {
        let disk = disk(&[
            Operation::Create { inode: 1, path: path("old") },
            Operation::Write { inode: 1, offset: 0, data: b"bytes".to_vec() },
            Operation::Sync { inode: 1 },
            Operation::SyncFolder { path: path("") },
            Operation::Rename { from: path("old"), to: path("new") },
        ]);
        assert_eq!(after(&disk, Survival::Nothing), [(path("old"), Some(b"bytes".to_vec()))].into());
        assert_eq!(after(&disk, Survival::Everything), [(path("new"), Some(b"bytes".to_vec()))].into());
    }
}
