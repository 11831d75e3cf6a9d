//! Conversion of drawn digits to the style of MNIST.

use std::{fs, path::Path};

use serde_json::Value;
use tch::Tensor;

use crate::{
    data::{MEAN, PIXELS, SIDE, STANDARD_DEVIATION},
    error::Error,
};

/// Side of the box that MNIST's digits fill, in pixels. Their centre of mass is in the middle of
/// the 28 pixels.
const BOX: f64 = 20.0;
/// Number of samples along each side of a pixel when a drawing is scaled.
const SAMPLES: usize = 4;
/// Factor with which a pen of one pixel keeps full ink in its middle after the blur.
const GAIN: f64 = 1.7;

/// A digit in the network's format, before normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Digit {
    /// Ink from 0 to 1, row by row.
    pub pixels: Vec<f32>,
}

/// Reads a JSON list of digits, or a single one. A digit is either a drawing of 28 strings with 28
/// characters (`#` is ink, `.` and space are paper), or 784 numbers from 0 to 1, which are used
/// unchanged.
pub fn read(path: &Path) -> Result<Vec<Digit>, Error> {
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    parse(&text).map_err(|problem| Error::BadDigits {
        path: path.to_path_buf(),
        problem,
    })
}

/// Parses the digits of a JSON text.
pub fn parse(text: &str) -> Result<Vec<Digit>, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let Value::Array(list) = &value else {
        return Err("it is not a JSON list".to_owned());
    };
    let digits = match list.first() {
        None => return Err("its list is empty".to_owned()),
        Some(Value::Array(_)) => list.iter().collect(),
        Some(_) => vec![&value],
    };
    let numbered = digits.into_iter().enumerate();
    numbered
        .map(|(place, digit)| {
            parse_digit(digit).map_err(|problem| format!("digit {} {problem}", place + 1))
        })
        .collect()
}

fn parse_digit(value: &Value) -> Result<Digit, String> {
    let Value::Array(list) = value else {
        return Err("is not a list".to_owned());
    };
    if list.iter().all(Value::is_string) {
        let rows: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
        Digit::from_drawing(&rows)
    } else if list.iter().all(Value::is_number) {
        let pixels: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        Digit::from_pixels(&pixels)
    } else {
        Err("is neither a list of strings nor a list of numbers".to_owned())
    }
}

impl Digit {
    /// Converts a drawing: scales it to MNIST's box, softens its edges, and centres it by its mass.
    pub fn from_drawing(rows: &[&str]) -> Result<Self, String> {
        let drawing = Drawing::parse(rows)?;
        let placed = drawing.place();
        let pixels = blur(&placed).map(|ink| (ink * GAIN).min(1.0) as f32);
        Ok(Self {
            pixels: pixels.collect(),
        })
    }

    /// Uses pixels that are already in MNIST's style.
    pub fn from_pixels(pixels: &[f64]) -> Result<Self, String> {
        if pixels.len() != PIXELS {
            return Err(format!("has {} numbers, not {PIXELS}", pixels.len()));
        }
        match pixels.iter().position(|ink| !(0.0..=1.0).contains(ink)) {
            Some(place) => Err(format!(
                "has {} as number {}, not one from 0 to 1",
                pixels[place],
                place + 1
            )),
            None => Ok(Self {
                pixels: pixels.iter().map(|ink| *ink as f32).collect(),
            }),
        }
    }

    /// Renders the digit as text, two rows of pixels per line.
    pub fn picture(&self) -> String {
        const SHADES: &[u8] = b" .:-=+*#%@";
        let mut picture = String::new();
        for rows in self.pixels.chunks(2 * SIDE) {
            let (upper, lower) = rows.split_at(SIDE);
            let line: String = upper
                .iter()
                .zip(lower)
                .map(|(upper, lower)| {
                    let shade = (upper + lower) / 2.0 * (SHADES.len() - 1) as f32;
                    char::from(SHADES[(shade.round() as usize).min(SHADES.len() - 1)])
                })
                .collect();
            if !line.trim().is_empty() {
                picture.push_str(line.trim_end());
                picture.push('\n');
            }
        }
        picture
    }
}

/// Returns the network's input for these digits.
pub fn to_tensor(digits: &[Digit]) -> Tensor {
    let pixels: Vec<f32> = digits
        .iter()
        .flat_map(|digit| digit.pixels.iter().copied())
        .collect();
    let side = SIDE as i64;
    (Tensor::from_slice(&pixels).view([-1, 1, side, side]) - MEAN) / STANDARD_DEVIATION
}

/// The ink of a drawing.
struct Drawing {
    ink: Vec<bool>,
}

impl Drawing {
    fn parse(rows: &[&str]) -> Result<Self, String> {
        if rows.len() != SIDE {
            return Err(format!("has {} rows, not {SIDE}", rows.len()));
        }
        let mut ink = Vec::with_capacity(PIXELS);
        for (row, text) in rows.iter().enumerate() {
            let width = text.chars().count();
            if width != SIDE {
                return Err(format!(
                    "has {width} characters in row {}, not {SIDE}",
                    row + 1
                ));
            }
            for character in text.chars() {
                ink.push(match character {
                    '#' => true,
                    '.' | ' ' => false,
                    other => {
                        return Err(format!(
                            "has {other:?} in row {}; `#` is ink, `.` and space are paper",
                            row + 1
                        ));
                    }
                });
            }
        }
        if ink.contains(&true) {
            Ok(Self { ink })
        } else {
            Err("is blank".to_owned())
        }
    }

    /// Returns the drawing scaled to MNIST's box, ink from 0 to 1.
    fn place(&self) -> Vec<f64> {
        let marks: Vec<(f64, f64)> = (0..PIXELS)
            .filter(|place| self.ink[*place])
            .map(|place| ((place % SIDE) as f64 + 0.5, (place / SIDE) as f64 + 0.5))
            .collect();
        let count = marks.len() as f64;
        let mass_x = marks.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mass_y = marks.iter().map(|(_, y)| y).sum::<f64>() / count;
        let extent = |get: fn(&(f64, f64)) -> f64| {
            let largest = marks.iter().map(get).fold(f64::MIN, f64::max);
            let smallest = marks.iter().map(get).fold(f64::MAX, f64::min);
            largest - smallest + 1.0
        };
        let scale = BOX / extent(|mark| mark.0).max(extent(|mark| mark.1));
        let middle = SIDE as f64 / 2.0;

        let ink_at = |x: f64, y: f64| {
            let (x, y) = ((x - middle) / scale + mass_x, (y - middle) / scale + mass_y);
            let inside = 0.0..SIDE as f64;
            inside.contains(&x) && inside.contains(&y) && self.ink[y as usize * SIDE + x as usize]
        };
        let offsets = (0..SAMPLES).map(|sample| (sample as f64 + 0.5) / SAMPLES as f64);
        (0..PIXELS)
            .map(|place| {
                let (x, y) = ((place % SIDE) as f64, (place / SIDE) as f64);
                let hits = offsets
                    .clone()
                    .flat_map(|dx| offsets.clone().map(move |dy| (x + dx, y + dy)))
                    .filter(|(x, y)| ink_at(*x, *y))
                    .count();
                hits as f64 / (SAMPLES * SAMPLES) as f64
            })
            .collect()
    }
}

/// Softens the edges, like a scanned pen stroke.
fn blur(pixels: &[f64]) -> impl Iterator<Item = f64> {
    const WEIGHTS: [f64; 3] = [0.25, 0.5, 0.25];
    let at = |x: usize, y: usize| {
        // Pixels outside the image are paper.
        if (1..=SIDE).contains(&x) && (1..=SIDE).contains(&y) {
            pixels[(y - 1) * SIDE + x - 1]
        } else {
            0.0
        }
    };
    (0..PIXELS).map(move |place| {
        let (x, y) = (place % SIDE, place / SIDE);
        let mut sum = 0.0;
        for (dy, vertical) in WEIGHTS.iter().enumerate() {
            for (dx, horizontal) in WEIGHTS.iter().enumerate() {
                sum += vertical * horizontal * at(x + dx, y + dy);
            }
        }
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::{Digit, PIXELS, SIDE, parse};

    fn bar() -> Vec<String> {
        let row = |ink: &str| format!("{ink:.<28}");
        (0..28)
            .map(|y| {
                if (3..13).contains(&y) {
                    row("..##")
                } else {
                    row("")
                }
            })
            .collect()
    }

    #[test]
    fn a_drawing_is_scaled_and_centred_by_mass() {
        let rows = bar();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let digit = Digit::from_drawing(&rows).expect("a digit");
        let ink: f32 = digit.pixels.iter().sum();
        let mass = |get: fn(usize) -> usize| {
            let sum: f32 = (0..PIXELS)
                .map(|place| (get(place) as f32 + 0.5) * digit.pixels[place])
                .sum();
            sum / ink
        };
        assert!((mass(|place| place % SIDE) - 14.0).abs() < 0.01);
        assert!((mass(|place| place / SIDE) - 14.0).abs() < 0.01);
        let inked: Vec<usize> = (0..SIDE)
            .filter(|y| {
                digit.pixels[y * SIDE..(y + 1) * SIDE]
                    .iter()
                    .any(|ink| *ink > 0.5)
            })
            .collect();
        assert_eq!(
            (inked.first(), inked.len()),
            (Some(&4), 20),
            "it fills MNIST's box"
        );
        assert!(digit.pixels.iter().all(|ink| (0.0..=1.0).contains(ink)));
        assert!(
            digit.pixels.iter().any(|ink| *ink > 0.99),
            "the middle of a stroke is black"
        );
    }

    #[test]
    fn numbers_are_taken_as_they_are() {
        let pixels = format!("[{}]", vec!["0.5"; 784].join(","));
        let digits = parse(&pixels).expect("a single digit");
        assert_eq!(
            digits,
            [Digit {
                pixels: vec![0.5; 784]
            }]
        );
        let both = format!("[{pixels},{}]", serde_json::json!(bar()));
        assert_eq!(parse(&both).expect("two digits").len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut short = bar();
        short.pop();
        let mut narrow = bar();
        narrow[4].pop();
        let mut odd = bar();
        odd[2] = format!("x{:.<27}", "");
        let blank = vec![" ".repeat(28); 28];
        let cases = [
            ("{".to_owned(), "it is not JSON"),
            ("{}".to_owned(), "it is not a JSON list"),
            ("[]".to_owned(), "its list is empty"),
            (
                "[[1, \"#\"]]".to_owned(),
                "digit 1 is neither a list of strings nor a list of numbers",
            ),
            ("[[0.5]]".to_owned(), "digit 1 has 1 numbers, not 784"),
            (
                format!("[[{}]]", vec!["2"; 784].join(",")),
                "digit 1 has 2 as number 1, not one from 0 to 1",
            ),
            (
                serde_json::json!([bar(), short]).to_string(),
                "digit 2 has 27 rows, not 28",
            ),
            (
                serde_json::json!([narrow]).to_string(),
                "digit 1 has 27 characters in row 5, not 28",
            ),
            (
                serde_json::json!([odd]).to_string(),
                "digit 1 has 'x' in row 3",
            ),
            (serde_json::json!([blank]).to_string(), "digit 1 is blank"),
        ];
        for (text, expected) in cases {
            let problem = parse(&text).expect_err("a problem");
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
