//! Uncommitted blocks, in one marked folder for each blob.
//!
//! Committing a block list removes its blocks and stores a record of the result. The commit is
//! therefore idempotent: a client that received no response sends the same list again and receives
//! the same response.

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hmac::hex;
use crate::home::Home;
use crate::name::{BlobName, ContainerName, Fixed, Relative};
use crate::remove;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The record of the last committed list. Block names are hashes, so none is equal to it.
const COMMITTED: Fixed = Fixed::new("committed");

/// The blocks of one blob.
#[derive(Debug)]
pub struct Blocks<'a> {
    home: &'a Home,
    name: BlobName,
}

impl<'a> Blocks<'a> {
    /// The blocks of a blob.
    pub fn of(home: &'a Home, container: &ContainerName, name: &BlobName) -> Result<Self> {
        let name = BlobName::parse(&hex(&Sha256::digest(format!("{container}\n{name}"))))?;
        Ok(Self { home, name })
    }

    /// The folder of the blocks, created if necessary.
    fn folder(&self) -> io::Result<Dir> {
        let all = Dir::at(&self.home.blocks())?;
        match remove::make(&all, &self.name, self.home.owner()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => all.dir(&self.name),
            made => made,
        }
    }

    /// Stores a received file as the block with this id.
    pub fn put(&self, id: &str, received: &Path) -> Result<()> {
        Ok(self.folder()?.rename_into(received, &block(id)?)?)
    }

    /// Concatenates the blocks of a list, in its order.
    pub fn join(&self, list: &str, whole: &Path) -> Result<()> {
        let folder = self.folder()?;
        let mut whole = File::create_new(whole)?;
        for id in ids(list) {
            let mut block = folder.file(&block(&id)?).map_err(|_| Error::Invalid {
                code: "InvalidBlockList",
                message: format!("block {id:?} was not uploaded"),
            })?;
            io::copy(&mut block, &mut whole)?;
        }
        Ok(())
    }

    /// Whether the last committed list was this one, and its result the content with this `ETag`.
    pub fn has_become(&self, list: &str, etag: &str) -> bool {
        let recorded = || {
            let mut text = String::new();
            let mut file = self.folder()?.file(&COMMITTED)?;
            file.read_to_string(&mut text)?;
            io::Result::Ok(text)
        };
        recorded().is_ok_and(|recorded| recorded == record(list, etag))
    }

    /// Removes the blocks of a list that was committed as the content with this `ETag`. They stay
    /// if the record cannot be written.
    pub fn remove(&self, list: &str, etag: &str, temporary: &Path) -> io::Result<()> {
        let folder = self.folder()?;
        fs::write(temporary, record(list, etag))?;
        folder.rename_into(temporary, &COMMITTED)?;
        for entry in folder.entries()? {
            // Skips the mark, which is not a valid blob name, and the record.
            if let Some(name) = entry.name().and_then(BlobName::of)
                && name.as_str() != COMMITTED.as_str()
            {
                folder.unlink(&name)?;
            }
        }
        Ok(())
    }
}

fn block(id: &str) -> Result<BlobName> {
    BlobName::parse(&hex(&Sha256::digest(id)))
}

fn record(list: &str, etag: &str) -> String {
    format!("{}\n{etag}\n", hex(&Sha256::digest(ids(list).join("\n"))))
}

/// The ids in a block list, in order.
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
        // The closing tag starts with `/` and matches no kind.
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
