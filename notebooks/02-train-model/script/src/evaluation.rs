//! Charts of the trained network's mistakes, as SVG for browsers.

use std::{fmt::Write as _, fs, path::Path};

use tch::{Device, Kind, Tensor};
use training::file;

use crate::{
    data::{Pictures, SIDE},
    error::Error,
};

/// The folder of the charts in the output folder.
pub const FOLDER: &str = "evaluation";
/// The confusion matrix of the digits.
pub const CONFUSION_MATRIX: &str = "confusion_matrix.svg";
/// The mistakes with the highest confidence.
pub const WORST_DIGITS: &str = "worst_digits.svg";

/// Number of shown mistakes.
const SHOWN: usize = 18;
/// Number of mistakes in a row.
const ROW: usize = 6;

/// An image that the network classified as another digit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mistake {
    /// Index of the image in the file.
    place: usize,
    label: usize,
    answer: usize,
    /// Probability of the network's prediction, from 0 to 1.
    probability: f64,
}

/// Writes the images for the network's outputs on the test images: ten log probabilities each,
/// `[n, 10]`.
pub fn save(output: &Path, pictures: &Pictures, answers: &Tensor) -> Result<(), Error> {
    let folder = output.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
    let (probabilities, answers) = answers.to_device(Device::Cpu).exp().max_dim(1, false);
    let labels = numbers(pictures.labels())?;
    let answers = numbers(&answers)?;
    let probabilities = Vec::<f64>::try_from(probabilities.to_kind(Kind::Double))?;

    let mut matrix = [[0usize; 10]; 10];
    let mut mistakes = Vec::new();
    let each = labels.into_iter().zip(answers).zip(probabilities);
    for (place, ((label, answer), probability)) in each.enumerate() {
        matrix[label][answer] += 1;
        if label != answer {
            mistakes.push(Mistake {
                place,
                label,
                answer,
                probability,
            });
        }
    }
    mistakes.sort_by(|one, other| other.probability.total_cmp(&one.probability));
    mistakes.truncate(SHOWN);
    let shown = mistakes
        .into_iter()
        .map(|mistake| Ok((mistake, pictures.pixels_of(mistake.place)?)))
        .collect::<Result<Vec<_>, Error>>()?;

    file::write_bytes(&folder.join(CONFUSION_MATRIX), confusion_matrix(&matrix))?;
    Ok(file::write_bytes(
        &folder.join(WORST_DIGITS),
        worst_digits(&shown),
    )?)
}

fn numbers(tensor: &Tensor) -> Result<Vec<usize>, Error> {
    let numbers = Vec::<i64>::try_from(tensor.to_device(Device::Cpu))?;
    Ok(numbers.into_iter().map(|number| number as usize).collect())
}

/// Draws the confusion matrix: a row for each digit, a column for each prediction.
fn confusion_matrix(matrix: &[[usize; 10]; 10]) -> String {
    const CELL: usize = 42;
    const LEFT: usize = 54;
    const TOP: usize = 50;
    let (width, height) = (LEFT + 10 * CELL + 8, TOP + 10 * CELL + 8);
    let mut svg = open(
        width,
        height,
        "Confusion matrix: how often each digit was read as which",
    );
    let middle = 5 * CELL;
    text(&mut svg, LEFT + middle, 16, "middle", "read as");
    let x = 14;
    let y = TOP + middle;
    let _ = write!(
        svg,
        r#"<text x="{x}" y="{y}" text-anchor="middle" transform="rotate(-90 {x} {y})">the digit is</text>"#
    );
    // A few mistakes must be visible next to a thousand correct predictions.
    let shade = |row: &[usize; 10], count: usize| {
        let all: usize = row.iter().sum();
        (2.0 * (count as f64 / all.max(1) as f64).sqrt()).min(1.0)
    };
    for (label, row) in matrix.iter().enumerate() {
        let y = TOP + label * CELL;
        text(
            &mut svg,
            LEFT - 12,
            y + CELL / 2 + 5,
            "middle",
            &label.to_string(),
        );
        let x = LEFT + label * CELL + CELL / 2;
        text(&mut svg, x, TOP - 10, "middle", &label.to_string());
        for (answer, count) in row.iter().enumerate() {
            let x = LEFT + answer * CELL;
            let colour = if label == answer {
                "#1a7f37"
            } else {
                "#cf222e"
            };
            let strength = shade(row, *count);
            let _ = write!(
                svg,
                r##"<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{colour}" fill-opacity="{strength:.2}" stroke="#d0d7de"><title>{label} read as {answer}: {count}</title></rect>"##
            );
            if *count > 0 {
                let ink = if strength > 0.6 { "#fff" } else { "#1f2328" };
                let (x, y) = (x + CELL / 2, y + CELL / 2 + 5);
                let _ = write!(
                    svg,
                    r#"<text x="{x}" y="{y}" text-anchor="middle" fill="{ink}">{count}</text>"#
                );
            }
        }
    }
    svg + "</svg>\n"
}

/// Draws the images in rows, with their label and the prediction below.
fn worst_digits(shown: &[(Mistake, Vec<u8>)]) -> String {
    /// Width of an image's pixel.
    const PIXEL: usize = 4;
    const WIDTH: usize = SIDE * PIXEL + 16;
    const HEIGHT: usize = SIDE * PIXEL + 48;
    let rows = shown.len().div_ceil(ROW).max(1);
    let mut svg = open(
        ROW * WIDTH,
        rows * HEIGHT,
        "The mistakes that the network was surest of",
    );
    if shown.is_empty() {
        text(
            &mut svg,
            ROW * WIDTH / 2,
            HEIGHT / 2,
            "middle",
            "no mistakes",
        );
    }
    for (number, (mistake, pixels)) in shown.iter().enumerate() {
        let (x, y) = (number % ROW * WIDTH + 8, number / ROW * HEIGHT + 8);
        let side = SIDE * PIXEL;
        let Mistake {
            place,
            label,
            answer,
            probability,
        } = mistake;
        let _ = write!(
            svg,
            r#"<rect x="{x}" y="{y}" width="{side}" height="{side}"/><g transform="translate({x} {y}) scale({PIXEL})"><title>test picture {place}</title>"#
        );
        // One path for each shade: one shape for each pixel would make the file ten times as large.
        for level in 1..=LEVELS {
            let mut path = String::new();
            for (place, ink) in pixels.iter().enumerate() {
                if shade_of(*ink) == level {
                    let _ = write!(path, "M{} {}h1v1h-1z", place % SIDE, place / SIDE);
                }
            }
            if !path.is_empty() {
                let grey = 255 * level / LEVELS;
                let _ = write!(
                    svg,
                    r#"<path d="{path}" fill="rgb({grey},{grey},{grey})"/>"#
                );
            }
        }
        svg += "</g>";
        let middle = x + side / 2;
        let answer = format!("{label}, read as {answer}");
        text(&mut svg, middle, y + side + 16, "middle", &answer);
        let sure = format!("{:.0} % sure", 100.0 * probability);
        text(&mut svg, middle, y + side + 32, "middle", &sure);
    }
    svg + "</svg>\n"
}

/// Number of shades of ink.
const LEVELS: usize = 6;

/// Returns the shade of a pixel; 0 is none.
fn shade_of(ink: u8) -> usize {
    (usize::from(ink) * LEVELS + 127) / 255
}

/// Returns the beginning of an SVG with a white background, because it is also shown on dark pages.
fn open(width: usize, height: usize, title: &str) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" font-family="sans-serif" font-size="13" fill="#1f2328"><title>{title}</title><rect width="{width}" height="{height}" fill="#fff"/>"##
    )
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_sorted_and_drawn() {
        // Three images: a 7 predicted as 7, a 2 predicted as 7 with high probability, a 1 predicted
        // as 7 with low probability.
        let mut pixels = vec![0; 3 * SIDE * SIDE];
        pixels[SIDE * SIDE + SIDE + 2] = 255;
        let pictures = Pictures::new(&pixels, &[7, 2, 1]);
        let answer = |probability: f64| {
            let rest = (1.0 - probability) / 9.0;
            let mut row = [rest.ln() as f32; 10];
            row[7] = probability.ln() as f32;
            row
        };
        let rows: Vec<f32> = [0.99, 0.9, 0.5].into_iter().flat_map(answer).collect();
        let answers = Tensor::from_slice(&rows).view([3, 10]);
        let folder = tempfile::tempdir().expect("a folder");
        save(folder.path(), &pictures, &answers).expect("pictures");
        let read = |name: &str| {
            fs::read_to_string(folder.path().join(FOLDER).join(name)).expect("a picture")
        };
        let matrix = read(CONFUSION_MATRIX);
        assert!(matrix.contains("<title>2 read as 7: 1</title>"), "{matrix}");
        assert!(matrix.contains("<title>7 read as 7: 1</title>"), "{matrix}");
        let worst = read(WORST_DIGITS);
        let place = |text: &str| {
            worst
                .find(text)
                .unwrap_or_else(|| panic!("{text}: {worst}"))
        };
        assert!(place("2, read as 7") < place("1, read as 7"));
        assert!(
            worst.contains("<title>test picture 1</title>") && worst.contains("90 % sure"),
            "{worst}"
        );
        assert!(worst.contains("M2 1h1v1h-1z"), "{worst}");
        assert!(!worst.contains("7, read as 7"), "{worst}");
    }
}
