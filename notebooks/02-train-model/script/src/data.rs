//! MNIST as its authors publish it: four IDX files, unpacked or as `.gz`.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use tch::{Device, Kind, Tensor};

use crate::error::Error;

/// The mean of MNIST's pixels, as fractions of full ink.
pub const MEAN: f64 = 0.1307;
/// Their standard deviation.
pub const STANDARD_DEVIATION: f64 = 0.3081;
/// The height and width of a picture.
pub const SIDE: usize = 28;
/// The pixels of a picture.
pub const PIXELS: usize = SIDE * SIDE;

/// Where the data lies when nobody says so, seen from the lab's script, from the lab and from the project.
const USUAL_FOLDERS: [&str; 3] = ["data", "../data", "notebooks/02-train-model/data"];

/// The bytes of MNIST's largest file.
const ROOM: u64 = 60_000 * PIXELS as u64;

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// Labelled pictures.
#[derive(Debug)]
pub struct Pictures {
    /// `[n, 28, 28]`. One byte a pixel: a quarter of the memory of floats; batches are converted as they are drawn. On a GPU,
    /// where memory is plenty and each conversion costs, floats as the network sees them.
    images: Tensor,
    labels: Tensor,
}

/// Which half of MNIST.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// 60,000 pictures to learn from.
    Train,
    /// 10,000 pictures to judge by.
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

/// The folder to read from: the one that was named, or the usual one.
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
    /// Reads one half of MNIST.
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

    /// Pictures of one byte a pixel, and their labels.
    ///
    /// # Panics
    /// When there is not one label a picture.
    pub fn new(pixels: &[u8], labels: &[u8]) -> Self {
        assert_eq!(pixels.len(), labels.len() * PIXELS, "one label a picture");
        let side = SIDE as i64;
        Self {
            images: Tensor::from_slice(pixels).view([-1, side, side]),
            labels: Tensor::from_slice(labels).to_kind(Kind::Int64),
        }
    }

    /// The same pictures in the device's memory.
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

    /// The first ones, at most `count`.
    #[must_use]
    pub fn first(&self, count: i64) -> Self {
        let count = count.min(self.count());
        Self {
            images: self.images.narrow(0, 0, count),
            labels: self.labels.narrow(0, 0, count),
        }
    }

    /// All of them as the network sees them, `[n, 1, 28, 28]`.
    pub fn normalised(&self) -> Tensor {
        for_the_network(&self.images)
    }

    /// Their ink from 0 to 255, a list of 784 for each.
    pub fn pixels(&self) -> Result<Vec<Vec<u8>>, Error> {
        (0..self.count() as usize)
            .map(|place| self.pixels_of(place))
            .collect()
    }

    /// The ink of one of them.
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

    /// Their digits, `[n]`.
    pub fn labels(&self) -> &Tensor {
        &self.labels
    }

    /// How many there are.
    pub fn count(&self) -> i64 {
        self.images.size()[0]
    }

    /// The numbers of all of them, in batches of `[size]`, the last one smaller: shuffled anew at each call, or in the order
    /// of the file.
    pub fn batches(&self, size: i64, shuffled: bool) -> impl Iterator<Item = Tensor> {
        let options = (Kind::Int64, Device::Cpu);
        // On the CPU whatever the device, so that a seed means the same order everywhere.
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

    /// Those with the given numbers.
    pub fn batch(&self, chosen: &Tensor) -> Batch {
        Batch {
            images: for_the_network(&self.images.index_select(0, chosen)),
            labels: self.labels.index_select(0, chosen),
        }
    }
}

/// What the network sees at once.
#[derive(Debug)]
pub struct Batch {
    /// Normalised floats, `[n, 1, 28, 28]`.
    pub images: Tensor,
    /// The digits, `[n]`.
    pub labels: Tensor,
}

/// Pictures `[n, 28, 28]` as the network wants them. Their one channel comes last in memory: so do all that follow, which
/// suits the kernels of convolution and, on the CPU, of pooling ten times better.
fn for_the_network(images: &Tensor) -> Tensor {
    normalise(images).unsqueeze(-1).permute([0, 3, 1, 2])
}

/// Bytes of ink to the floats that the network learnt with; what is floats already stays as it is.
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

/// An IDX file that is being read.
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

    /// The bytes after the header, of which there must be exactly `expected`.
    fn rest(mut self, expected: u64, count: u32) -> Result<Vec<u8>, Error> {
        if count == 0 {
            return Err(self.bad("it is empty".to_owned()));
        }
        // As much as is expected, if that is not more than MNIST has: a damaged header may say anything.
        let mut bytes = Vec::with_capacity(expected.min(ROOM) as usize + 1);
        // One more than expected: so the end is seen too, where a .gz has its checksum.
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
            // The decoder's words for a damaged archive; everything else comes from the system.
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
