//! Aligned text for people.
//!
//! Apart from what is shown, and the one place that texts of others pass on their way to a
//! terminal: control characters in them are written out, so that a product's name cannot
//! move the cursor.

/// Rows of cells under a head, in columns as wide as their widest cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    head: Vec<&'static str>,
    /// Columns whose cells are moved to the right, as numbers are.
    right: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str], right: &[usize]) -> Self {
        Self {
            head: head.to_vec(),
            right: right.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.into_iter().map(plain).collect());
    }

    /// The table as lines, the last one ended.
    pub(super) fn render(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        // A table without a head has no line for it.
        let head = Some(head).filter(|head| !head.is_empty());
        let lines: Vec<&Vec<String>> = head.iter().chain(&self.rows).collect();
        let columns = lines.iter().map(|cells| cells.len()).max().unwrap_or(0);
        let width = |column| {
            let cells = lines
                .iter()
                .filter_map(|cells: &&Vec<String>| cells.get(column));
            cells
                .map(|cell: &String| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for cells in lines {
            let mut line = String::new();
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let cell = if self.right.contains(&column) {
                    format!("{cell:>width$}  ")
                } else {
                    format!("{cell:<width$}  ")
                };
                line.push_str(&cell);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text with its control characters written out.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["PRODUCT", "UNITS"], &[1]);
        table.row(["tea", "5"]);
        table.row(["Käse, alt", "1200"]);
        assert_eq!(
            table.render(),
            "PRODUCT    UNITS\ntea            5\nKäse, alt   1200\n"
        );
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn a_table_without_a_head_is_its_rows() {
        let mut table = Table::new(&[], &[]);
        table.row(["Order", "1"]);
        assert_eq!(table.render(), "Order  1\n");
    }
}
