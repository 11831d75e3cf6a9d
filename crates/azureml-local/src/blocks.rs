//! Blocks that wait for their list, in a folder for each blob.
//!
//! When a list is committed, its blocks are removed and a record of what the list became takes their place. A client whose
//! response was lost sends the same list again, and is told what became of it.

use crate::error::{Error, Result};
use crate::home::Home;
use crate::name::{BlobName, ContainerName};
use crate::signer::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The record of the last list that was committed. No block has such a name: theirs are hashes.
const COMMITTED: &str = "committed";

/// The blocks of one blob.
#[derive(Debug)]
pub struct Blocks {
    folder: PathBuf,
}

impl Blocks {
    /// Those of a blob.
    pub fn of(home: &Home, container: &ContainerName, name: &BlobName) -> Self {
        let folder = hex(&Sha256::digest(format!("{container}\n{name}")));
        Self {
            folder: home.blocks().join(folder),
        }
    }

    /// Takes a received file as the block of an id.
    pub fn put(&self, id: &str, received: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        fs::rename(received, self.block(id))
    }

    /// Joins the blocks that a list names, in its order.
    pub fn join(&self, list: &str, whole: &Path) -> Result<()> {
        let mut whole = File::create_new(whole)?;
        for id in ids(list) {
            let mut block = File::open(self.block(&id)).map_err(|_| Error::Invalid {
                code: "InvalidBlockList",
                message: format!("block {id:?} was not uploaded"),
            })?;
            io::copy(&mut block, &mut whole)?;
        }
        Ok(())
    }

    /// Whether this very list has become the content with this tag.
    pub fn has_become(&self, list: &str, etag: &str) -> bool {
        fs::read_to_string(self.folder.join(COMMITTED))
            .is_ok_and(|recorded| recorded == record(list, etag))
    }

    /// Removes the blocks of a list that has become the content with this tag. They stay when that cannot be recorded.
    pub fn remove(&self, list: &str, etag: &str, temporary: &Path) -> io::Result<()> {
        fs::write(temporary, record(list, etag))?;
        fs::rename(temporary, self.folder.join(COMMITTED))?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() != COMMITTED {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn block(&self, id: &str) -> PathBuf {
        self.folder.join(hex(&Sha256::digest(id)))
    }
}

fn record(list: &str, etag: &str) -> String {
    format!("{}\n{etag}\n", hex(&Sha256::digest(ids(list).join("\n"))))
}

/// The ids in a block list, in their order.
fn ids(list: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = list;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        for kind in ["Latest>", "Uncommitted>", "Committed>"] {
            if let Some(inner) = rest.strip_prefix(kind)
                && let Some(end) = inner.find('<')
            {
                ids.push(inner[..end].trim().to_owned());
                rest = &inner[end..];
                break;
            }
        }
        // The closing tag begins with `/` and matches no kind.
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lists_are_read_in_their_order() {
        let list = "<?xml version='1.0'?>\n<BlockList><Latest>Yg==</Latest>\n <Uncommitted>YQ==</Uncommitted></BlockList>";
        assert_eq!(ids(list), ["Yg==", "YQ=="]);
    }
}
