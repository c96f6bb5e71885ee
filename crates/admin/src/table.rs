//! Columns for people: no lines, two spaces between, words to the left, numbers to the right.
//!
//! Promises: a table that comes in pages keeps its columns; a column grows where it must and never shrinks; no line
//! ends in spaces.
//! Does not know: what the columns mean.
//!
//! The crates for tables lay out a whole table at once; ten million connections come in pages and are never all here.

use std::io::{self, Write};

/// Two spaces tell columns apart from words.
const GAP: &str = "  ";

/// Which end of its column a cell leans on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A title and the way its column leans.
pub(crate) type Column = (&'static str, Align);

/// A table under way.
pub(crate) struct Columns {
    columns: &'static [Column],
    /// Widest cell so far, in characters.
    widths: Vec<usize>,
    has_titles: bool,
}

impl Columns {
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self {
            columns,
            widths: columns.iter().map(|(title, _)| title.len()).collect(),
            has_titles: false,
        }
    }

    /// Writes the next rows, before the first the titles. A row with too few cells ends early.
    pub(crate) fn write(&mut self, rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.has_titles {
            self.has_titles = true;
            self.write_line(self.columns.iter().map(|(title, _)| *title), out)?;
        }
        for row in rows {
            self.write_line(row.iter().map(String::as_str), out)?;
        }
        Ok(())
    }

    fn write_line<'a>(
        &self,
        cells: impl Iterator<Item = &'a str>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, (_, align)), width) in cells.zip(self.columns).zip(&self.widths) {
            if !line.is_empty() {
                line.push_str(GAP);
            }
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        ("NAME", Align::Left),
        ("COUNT", Align::Right),
        ("WHY", Align::Left),
    ];

    fn row(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    fn text(pages: &[&[Vec<String>]]) -> String {
        let mut columns = Columns::new(COLUMNS);
        let mut out = Vec::new();
        for page in pages {
            columns.write(page, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn words_lean_left_and_numbers_right() {
        let rows = [row(["a", "1", "x"]), row(["longer", "123456", ""])];
        assert_eq!(
            text(&[&rows]),
            "NAME     COUNT  WHY\na            1  x\nlonger  123456\n"
        );
    }

    #[test]
    fn pages_share_titles_and_widths() {
        let first = [row(["longer", "1", "x"])];
        let second = [row(["a", "2", "y"])];
        assert_eq!(
            text(&[&first, &second]),
            "NAME    COUNT  WHY\nlonger      1  x\na           2  y\n"
        );
    }

    #[test]
    fn width_is_counted_in_characters() {
        let rows = [row(["é", "1", "x"]), row(["abcde", "1", "x"])];
        assert_eq!(
            text(&[&rows]),
            "NAME   COUNT  WHY\né          1  x\nabcde      1  x\n"
        );
    }

    #[test]
    fn an_empty_table_has_its_titles() {
        assert_eq!(text(&[&[]]), "NAME  COUNT  WHY\n");
    }
}
