//! What commands print: plain text for people, JSON on request, colours only on a terminal.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use clap::Args;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::exit::Failure;

/// Columns without frames, and a line below their heads.
const TABLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct OutputArguments {
    /// Print JSON: one document, or one line for each entry where there are many.
    #[arg(long)]
    pub(super) json: bool,
}

/// Standard output of one command.
pub(super) struct Output {
    /// Whether JSON is asked for.
    pub(super) json: bool,
    /// Whether a person is reading.
    pub(super) is_terminal: bool,
    /// Colours for text.
    pub(super) paint: Paint,
    out: BufWriter<Stdout>,
}

impl OutputArguments {
    /// Opens standard output.
    pub(super) fn open(self) -> Output {
        let is_terminal = io::stdout().is_terminal();
        Output {
            json: self.json,
            is_terminal,
            paint: Paint {
                on: is_terminal && console::colors_enabled(),
            },
            out: BufWriter::new(io::stdout()),
        }
    }
}

impl Output {
    /// Prints a line.
    pub(super) fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(Failure::output)
    }

    /// Prints bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(Failure::output)
    }

    /// Prints a JSON document on a line of its own.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).map_err(Failure::other)?;
        self.line(text)
    }

    /// Prints one of two forms: JSON if asked for, else a line of text.
    pub(super) fn either(
        &mut self,
        document: &impl Serialize,
        line: impl fmt::Display,
    ) -> Result<(), Failure> {
        if self.json {
            self.json(document)
        } else {
            self.line(line)
        }
    }

    /// Prints a table.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        self.line(table.trim_fmt())
    }

    /// A table with these column heads; columns named in `right` are aligned to the right.
    pub(super) fn new_table(&self, heads: &[&str], right: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(TABLE);
        // What does not fit is better broken by the terminal than letter by letter.
        table.set_content_arrangement(ContentArrangement::Disabled);
        if self.paint.on {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(heads.iter().map(|head| {
            let cell = Cell::new(head).add_attribute(comfy_table::Attribute::Bold);
            if right.contains(head) {
                cell.set_alignment(CellAlignment::Right)
            } else {
                cell
            }
        }));
        for (column, head) in table.column_iter_mut().zip(heads) {
            column.set_padding((0, 2));
            if right.contains(head) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// Writes out what is still held back.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::output)
    }
}

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    /// Whether there are colours.
    pub(super) on: bool,
}

impl Paint {
    fn with(self, style: console::Style, text: impl fmt::Display) -> String {
        style.force_styling(self.on).apply_to(text).to_string()
    }

    /// Bold.
    pub(super) fn bold(self, text: impl fmt::Display) -> String {
        self.with(console::Style::new().bold(), text)
    }

    /// Less conspicuous.
    pub(super) fn dim(self, text: impl fmt::Display) -> String {
        self.with(console::Style::new().dim(), text)
    }

    /// Good.
    pub(super) fn green(self, text: impl fmt::Display) -> String {
        self.with(console::Style::new().green(), text)
    }

    /// Bad.
    pub(super) fn red(self, text: impl fmt::Display) -> String {
        self.with(console::Style::new().red(), text)
    }

    /// Worth a look.
    pub(super) fn cyan(self, text: impl fmt::Display) -> String {
        self.with(console::Style::new().cyan(), text)
    }
}

/// A progress bar on standard error, shown only if that is a terminal. `unit` follows the counts:
/// `bytes` shows them as sizes.
pub(super) fn progress(total: u64, what: &'static str, unit: &str) -> ProgressBar {
    let counts = if unit == "bytes" {
        "{bytes}/{total_bytes}".to_owned()
    } else {
        format!("{{human_pos}}/{{human_len}} {unit}")
    };
    let template = format!("{{msg}} {{bar:30}} {counts} {{elapsed}}");
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─");
    // Drawing to standard error is left out by itself when that is no terminal.
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style);
    bar.set_message(what);
    bar
}

/// A count of things of unknown number on standard error, shown only if that is a terminal.
pub(super) fn counter(what: &'static str, unit: &str) -> ProgressBar {
    let template = format!("{{spinner}} {{msg}} {{human_pos}} {unit} {{elapsed}}");
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style);
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A size with a binary unit: `512 B`, `1.5 MiB`.
pub(super) fn show_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A number with separators: `12,345`.
pub(super) fn show_count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_there_are_no_colours_and_no_wrapping() {
        let output = Output {
            json: false,
            is_terminal: false,
            paint: Paint { on: false },
            out: BufWriter::new(io::stdout()),
        };
        let mut table = output.new_table(&["NAME", "COUNT"], &["COUNT"]);
        table.add_row(vec![
            Cell::new("a").fg(comfy_table::Color::Red),
            Cell::new("7"),
        ]);
        let text = table.trim_fmt();
        assert!(text.is_ascii() || !text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("NAME") && text.contains("    7"), "{text}");
        assert_eq!(output.paint.red("x"), "x");
        assert_eq!(Paint { on: true }.red("x"), "\u{1b}[31mx\u{1b}[0m");
    }

    #[test]
    fn sizes_and_counts_are_readable() {
        assert_eq!(show_bytes(512), "512 B");
        assert_eq!(show_bytes(3 * 1024 * 1024 / 2), "1.50 MiB");
        assert_eq!(show_count(12_345), "12,345");
    }
}
