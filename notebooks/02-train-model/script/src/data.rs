//! Reader of MNIST in its published format: four IDX files, unpacked or as `.gz`.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use tch::{Device, Kind, Tensor};

use crate::error::Error;

/// Mean of MNIST's pixels, as a fraction of full ink.
pub const MEAN: f64 = 0.1307;
/// Standard deviation of MNIST's pixels, as a fraction of full ink.
pub const STANDARD_DEVIATION: f64 = 0.3081;
/// Height and width of an image, in pixels.
pub const SIDE: usize = 28;
/// Number of pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;

/// Default folders of the data, relative to the lab's script, to the lab and to the project.
const USUAL_FOLDERS: [&str; 3] = ["data", "../data", "notebooks/02-train-model/data"];

/// Size of MNIST's largest file, in bytes.
const ROOM: u64 = 60_000 * PIXELS as u64;

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// Labelled images.
#[derive(Debug)]
pub struct Pictures {
    /// `[n, 28, 28]`. On the CPU one byte per pixel, a quarter of the memory of floats; batches are
    /// converted when they are drawn. On a GPU, where memory is plentiful and each conversion has a
    /// cost, normalised floats.
    images: Tensor,
    labels: Tensor,
}

/// A part of MNIST.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// 60,000 training images.
    Train,
    /// 10,000 test images.
    Test,
}

impl Part {
    fn prefix(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "t10k",
        }
    }
}

/// Returns the folder to read from: the given one, or the first default folder with images.
pub fn folder(named: Option<&Path>) -> Result<PathBuf, Error> {
    let searched: Vec<PathBuf> = match named {
        Some(folder) => return Ok(folder.to_path_buf()),
        None => USUAL_FOLDERS.iter().map(PathBuf::from).collect(),
    };
    let has_images = |folder: &&PathBuf| find(folder, &images_name(Part::Train)).is_some();
    match searched.iter().find(has_images) {
        Some(folder) => Ok(folder.clone()),
        None => Err(Error::NoData { searched }),
    }
}

impl Pictures {
    /// Reads one part of MNIST.
    pub fn read(folder: &Path, part: Part) -> Result<Self, Error> {
        let images = Idx::open(folder, &images_name(part))?.images()?;
        let labels_name = format!("{}-labels-idx1-ubyte", part.prefix());
        let labels_file = Idx::open(folder, &labels_name)?;
        let labels_path = labels_file.path.clone();
        let labels = labels_file.labels()?;
        let count = images.len() / PIXELS;
        if labels.len() != count {
            let problem = format!(
                "it labels {} pictures, but {} holds {count}",
                labels.len(),
                images_name(part)
            );
            return Err(Error::BadData {
                path: labels_path,
                problem,
            });
        }
        Ok(Self::new(&images, &labels))
    }

    /// Creates images from one byte per pixel, and their labels.
    ///
    /// # Panics
    /// If the number of labels differs from the number of images.
    pub fn new(pixels: &[u8], labels: &[u8]) -> Self {
        assert_eq!(pixels.len(), labels.len() * PIXELS, "one label a picture");
        let side = SIDE as i64;
        Self {
            images: Tensor::from_slice(pixels).view([-1, side, side]),
            labels: Tensor::from_slice(labels).to_kind(Kind::Int64),
        }
    }

    /// Copies the images to the memory of a device.
    #[must_use]
    pub fn to_device(&self, device: Device) -> Self {
        let images = self.images.to_device(device);
        Self {
            images: if device.is_cuda() {
                normalise(&images)
            } else {
                images
            },
            labels: self.labels.to_device(device),
        }
    }

    /// Returns the first images, at most `count`.
    #[must_use]
    pub fn first(&self, count: i64) -> Self {
        let count = count.min(self.count());
        Self {
            images: self.images.narrow(0, 0, count),
            labels: self.labels.narrow(0, 0, count),
        }
    }

    /// Returns all images as the network's input, `[n, 1, 28, 28]`.
    pub fn normalised(&self) -> Tensor {
        for_the_network(&self.images)
    }

    /// Returns the ink of all images from 0 to 255, a list of 784 for each image.
    pub fn pixels(&self) -> Result<Vec<Vec<u8>>, Error> {
        (0..self.count() as usize)
            .map(|place| self.pixels_of(place))
            .collect()
    }

    /// Returns the ink of one image.
    pub fn pixels_of(&self, place: usize) -> Result<Vec<u8>, Error> {
        let image = self.images.get(place as i64).to_device(Device::Cpu);
        let image = if image.kind() == Kind::Uint8 {
            image
        } else {
            ((image * STANDARD_DEVIATION + MEAN) * 255.0)
                .round()
                .to_kind(Kind::Uint8)
        };
        Ok(Vec::try_from(image.flatten(0, -1))?)
    }

    /// Returns the digits, `[n]`.
    pub fn labels(&self) -> &Tensor {
        &self.labels
    }

    /// Returns the number of images.
    pub fn count(&self) -> i64 {
        self.images.size()[0]
    }

    /// Returns the indices of all images in batches of `[size]`; the last batch may be smaller. The
    /// order is newly shuffled at each call, or that of the file.
    pub fn batches(&self, size: i64, shuffled: bool) -> impl Iterator<Item = Tensor> {
        let options = (Kind::Int64, Device::Cpu);
        // Always on the CPU, so that a seed results in the same order on all devices.
        let order = if shuffled {
            Tensor::randperm(self.count(), options)
        } else {
            Tensor::arange(self.count(), options)
        };
        let order = order.to_device(self.images.device());
        let count = self.count();
        (0..count)
            .step_by(size.max(1) as usize)
            .map(move |start| order.narrow(0, start, size.min(count - start)))
    }

    /// Returns the images with these indices.
    pub fn batch(&self, chosen: &Tensor) -> Batch {
        Batch {
            images: for_the_network(&self.images.index_select(0, chosen)),
            labels: self.labels.index_select(0, chosen),
        }
    }
}

/// A batch of the network's input.
#[derive(Debug)]
pub struct Batch {
    /// Normalised floats, `[n, 1, 28, 28]`.
    pub images: Tensor,
    /// The digits, `[n]`.
    pub labels: Tensor,
}

/// Converts images `[n, 28, 28]` to the network's input. The channel is the last dimension in
/// memory (channels last), also in all following layers: convolution kernels and, on the CPU,
/// pooling are up to ten times faster with this layout.
fn for_the_network(images: &Tensor) -> Tensor {
    normalise(images).unsqueeze(-1).permute([0, 3, 1, 2])
}

/// Converts bytes of ink to normalised floats; floats are returned unchanged.
fn normalise(images: &Tensor) -> Tensor {
    if images.kind() == Kind::Uint8 {
        (images.to_kind(Kind::Float) / 255.0 - MEAN) / STANDARD_DEVIATION
    } else {
        images.shallow_clone()
    }
}

fn images_name(part: Part) -> String {
    format!("{}-images-idx3-ubyte", part.prefix())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// An open IDX file.
struct Idx {
    path: PathBuf,
    content: Box<dyn Read>,
}

impl Idx {
    fn open(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = find(folder, name).ok_or_else(|| Error::MissingFile {
            folder: folder.to_path_buf(),
            name: name.to_owned(),
        })?;
        let file = BufReader::new(File::open(&path).map_err(Error::read(&path))?);
        let content: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz")
        {
            Box::new(GzDecoder::new(file))
        } else {
            Box::new(file)
        };
        Ok(Self { path, content })
    }

    fn images(mut self) -> Result<Vec<u8>, Error> {
        self.magic(IMAGES_MAGIC, "pictures")?;
        let count = self.number()?;
        let (height, width) = (self.number()?, self.number()?);
        if (height as usize, width as usize) != (SIDE, SIDE) {
            let problem = format!("its pictures are {height}×{width}, not {SIDE}×{SIDE}");
            return Err(self.bad(problem));
        }
        self.rest(u64::from(count) * PIXELS as u64, count)
    }

    fn labels(mut self) -> Result<Vec<u8>, Error> {
        self.magic(LABELS_MAGIC, "labels")?;
        let count = self.number()?;
        let path = self.path.clone();
        let labels = self.rest(u64::from(count), count)?;
        match labels.iter().position(|label| *label > 9) {
            None => Ok(labels),
            Some(place) => Err(Error::BadData {
                path,
                problem: format!("label {place} is {}, not a digit", labels[place]),
            }),
        }
    }

    fn magic(&mut self, expected: u32, what: &str) -> Result<(), Error> {
        let found = self.number()?;
        if found == expected {
            return Ok(());
        }
        let problem =
            format!("it starts with {found:#010x}, an IDX file of {what} with {expected:#010x}");
        Err(self.bad(problem))
    }

    fn number(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        match self.content.read_exact(&mut bytes) {
            Ok(()) => Ok(u32::from_be_bytes(bytes)),
            Err(error) => Err(self.unreadable(error, "it is truncated within its header")),
        }
    }

    /// Reads the bytes after the header; their number must be `expected`.
    fn rest(mut self, expected: u64, count: u32) -> Result<Vec<u8>, Error> {
        if count == 0 {
            return Err(self.bad("it is empty".to_owned()));
        }
        // Limited to MNIST's size, because a damaged header can contain any number.
        let mut bytes = Vec::with_capacity(expected.min(ROOM) as usize + 1);
        // One byte more than expected, so that the end of a .gz file, which contains its checksum,
        // is read too.
        let read = (&mut self.content)
            .take(expected + 1)
            .read_to_end(&mut bytes);
        let found = bytes.len() as u64;
        let truncated =
            format!("it is truncated: {expected} bytes should follow its header, {found} do");
        match read {
            Err(error) => Err(self.unreadable(error, &truncated)),
            Ok(_) if found < expected => Err(self.bad(truncated)),
            Ok(_) if found > expected => Err(self.bad(format!(
                "more than the {expected} bytes of its {count} entries follow its header"
            ))),
            Ok(_) => Ok(bytes),
        }
    }

    fn unreadable(&self, error: io::Error, truncated: &str) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => self.bad(truncated.to_owned()),
            // The kinds that the decoder uses for a damaged archive; all other errors come from the
            // operating system.
            ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                self.bad(format!("its gzip archive is damaged ({error})"))
            }
            _ => Error::read(&self.path)(error),
        }
    }

    fn bad(&self, problem: String) -> Error {
        Error::BadData {
            path: self.path.clone(),
            problem,
        }
    }
}
