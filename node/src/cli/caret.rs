//! Pointing at the place of a text where it is wrong.

use engram_client::ExpressionError;

/// So many characters of the text are shown before and after the place.
const AROUND: usize = 36;

/// What is wrong with a query, with the query itself and a caret below the place.
pub(super) fn point_at(query: &str, error: &ExpressionError) -> String {
    let place = error.position.saturating_sub(1);
    let from = place.saturating_sub(AROUND);
    let before: String = shown(query, from, place - from);
    let after: String = shown(query, place, AROUND);
    let cut_before = if from > 0 { "…" } else { "" };
    let is_cut = query.chars().nth(place + AROUND).is_some();
    let cut_after = if is_cut { "…" } else { "" };
    let indent = " ".repeat(console::measure_text_width(&before) + cut_before.chars().count());
    format!("{error}\n  {cut_before}{before}{after}{cut_after}\n  {indent}^")
}

/// A part of a text on one line: what would move the cursor is shown as a blank.
fn shown(text: &str, from: usize, count: usize) -> String {
    let characters = text.chars().skip(from).take(count);
    characters
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use engram_client::TextExpression;

    use super::*;

    fn pointed(query: &str) -> String {
        let error = TextExpression::parse(query).expect_err("it is wrong");
        point_at(query, &error)
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        assert_eq!(
            pointed("python (rust OR go"),
            "this bracket is not closed, at character 8 of the query\n  python (rust OR go\n         ^"
        );
        // Wide characters take two columns, and a line break none of its own.
        assert!(pointed("日本\n)").ends_with("\n  日本 )\n       ^"));
        assert!(pointed("a OR").ends_with("\n  a OR\n      ^"));
    }

    #[test]
    fn long_queries_are_cut_around_the_place() {
        let query = format!("{} ) {}", "word ".repeat(20), "more ".repeat(20));
        let text = pointed(&query);
        let lines: Vec<&str> = text.lines().collect();
        let place = lines[2].chars().count() - 1;
        assert_eq!(lines[1].chars().nth(place), Some(')'));
        assert!(lines[1].starts_with("  …") && lines[1].ends_with('…'));
        assert!(lines[1].chars().count() <= 2 * AROUND + 4);
    }
}
