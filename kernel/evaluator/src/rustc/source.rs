//! Generated crate roots with a map from each byte to its origin.

use std::collections::VecDeque;
use std::ops::Range;

/// The number of cells whose code is kept.
const CELLS_KEPT: usize = 1000;

/// An edit of a text: start and end of the replaced range, and the replacement.
pub(super) type Edit = (usize, usize, String);

/// Source text for the compiler, with the origins of its pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
struct Piece {
    range: Range<usize>,
    origin: Origin,
}

/// The origin of a piece of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A part of a cell: the number of the cell and the byte offset in it.
    Cell { cell: u64, start: usize },
    /// The code that takes a variable of an earlier cell, by name.
    Take(String),
    /// The statement that stores a new variable.
    Store(String),
    /// The statement that drops a variable that borrows.
    Drop(String),
    /// The statement that stores a variable of an earlier cell again.
    Keep(String),
    /// The code that shows the value of the last expression.
    Show,
    /// The code that enters the asynchronous runtime.
    Enter,
}

impl Source {
    /// Adds generated code without an origin.
    pub(super) fn generated(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds code with an origin.
    pub(super) fn piece(&mut self, origin: Origin, text: &str) -> &mut Self {
        let start = self.text.len();
        self.text.push_str(text);
        self.pieces.push(Piece {
            range: start..self.text.len(),
            origin,
        });
        self
    }

    /// Adds a part of a cell.
    pub(super) fn cell(&mut self, cell: u64, code: &str, range: Range<usize>) -> &mut Self {
        let origin = Origin::Cell {
            cell,
            start: range.start,
        };
        self.piece(origin, &code[range])
    }

    /// Adds a part of a cell with edits.
    pub(super) fn edited<'a>(
        &mut self,
        cell: u64,
        code: &str,
        range: Range<usize>,
        edits: impl IntoIterator<Item = &'a Edit>,
    ) -> &mut Self {
        let mut edits: Vec<&Edit> = edits
            .into_iter()
            .filter(|(from, _, _)| range.contains(from))
            .collect();
        edits.sort_by_key(|(from, _, _)| *from);
        let mut start = range.start;
        for (from, to, text) in edits {
            let at = Origin::Cell { cell, start: *from };
            self.cell(cell, code, start..*from).piece(at, text);
            start = *to;
        }
        self.cell(cell, code, start..range.end)
    }

    /// Returns the origin of the piece at a byte offset, and the distance from the start of the
    /// piece.
    pub(super) fn origin(&self, place: usize) -> Option<(&Origin, usize)> {
        self.pieces
            .iter()
            .find(|piece| piece.range.contains(&place) || piece.range.end == place)
            .map(|piece| (&piece.origin, place - piece.range.start))
    }

    /// Returns the cell and the byte offset in it that correspond to a byte offset of the source.
    pub(super) fn in_cell(&self, place: usize) -> Option<(u64, usize)> {
        match self.origin(place)? {
            (Origin::Cell { cell, start }, offset) => Some((*cell, start + offset)),
            _ => None,
        }
    }

    /// Returns the part of a cell in a range of the source, if the range otherwise contains only
    /// white space, `&` and parentheses.
    pub(super) fn wrapped(&self, range: &Range<usize>) -> Option<(u64, Range<usize>)> {
        let mut inside = self
            .pieces
            .iter()
            .filter(|piece| range.start <= piece.range.start && piece.range.end <= range.end);
        let piece = inside.next()?;
        let Origin::Cell { cell, start } = piece.origin else {
            return None;
        };
        let around = [
            self.text.get(range.start..piece.range.start)?,
            self.text.get(piece.range.end..range.end)?,
        ];
        let is_bracket = |c: char| c.is_whitespace() || "&()".contains(c);
        let alone =
            inside.next().is_none() && around.iter().all(|text| text.chars().all(is_bracket));
        alone.then(|| (cell, start..start + piece.range.len()))
    }

    /// Returns the end of the part of a cell that precedes generated text.
    pub(super) fn before(&self, place: usize) -> Option<(u64, Range<usize>)> {
        let pieces = self.pieces.iter();
        let piece = pieces.take_while(|piece| piece.range.end <= place).last()?;
        let Origin::Cell { cell, start } = piece.origin else {
            return None;
        };
        let written = self.text[piece.range.clone()].trim_end().len();
        Some((cell, start + written..start + written))
    }

    /// Returns the byte offset of a line and column. Both begin at 1, and columns are counted in
    /// code points.
    pub(super) fn place(&self, line: usize, column: usize) -> Option<usize> {
        let start = line_start(&self.text, line)?;
        let rest = &self.text[start..];
        let offset = rest
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(rest.len(), |(offset, _)| offset);
        Some(start + offset)
    }
}

/// The code of the newest cells, for messages that quote their lines.
#[derive(Debug, Default)]
pub(super) struct Cells {
    codes: VecDeque<(u64, String)>,
}

impl Cells {
    /// Adds the code of a cell, and removes the oldest if there are too many.
    pub(super) fn add(&mut self, number: u64, code: &str) {
        self.codes.push_back((number, code.to_owned()));
        if self.codes.len() > CELLS_KEPT {
            self.codes.pop_front();
        }
    }

    /// Returns the code of a cell, or an empty string if it was removed.
    pub(super) fn code(&self, number: u64) -> &str {
        self.codes
            .iter()
            .find(|(cell, _)| *cell == number)
            .map_or("", |(_, code)| code)
    }

    /// Returns the line of a cell at a byte offset.
    pub(super) fn line(&self, number: u64, place: usize) -> &str {
        let code = self.code(number);
        let (line, _) = line_and_column(code, place);
        code.lines().nth(line - 1).unwrap_or_default()
    }
}

/// Returns the byte offset of a line. Lines are counted from 1.
fn line_start(text: &str, line: usize) -> Option<usize> {
    if line <= 1 {
        return Some(0);
    }
    text.match_indices('\n')
        .nth(line - 2)
        .map(|(end, _)| end + 1)
}

/// Returns the line and column of a byte offset. Both begin at 1, and columns are counted in code
/// points.
pub(super) fn line_and_column(text: &str, place: usize) -> (usize, usize) {
    let mut place = place.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    let before = &text[..place];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_found() {
        let code = "let 이름 = 1;\n이름 + x";
        let mut source = Source::default();
        source
            .generated("fn run() {\n")
            .cell(3, code, 0..15)
            .generated("\n")
            .cell(3, code, 16..code.len())
            .piece(Origin::Keep("x".to_owned()), " keep(x);");
        let at = source.text.find("+ x").expect("it is there") + 2;
        let (cell, place) = source.in_cell(at).expect("it comes from the cell");
        assert_eq!(cell, 3);
        assert_eq!(line_and_column(code, place), (2, 6));
        assert_eq!(source.place(3, 6), Some(at));
        let kept = source.text.find("keep").expect("it is there");
        assert_eq!(
            source.origin(kept),
            Some((&Origin::Keep("x".to_owned()), 1))
        );
        assert_eq!(source.origin(2), None);
    }
}
