//! Snippets: the part of a text that shows best why it was found.

use std::ops::Range;

use bincode::{Decode, Encode};

use super::{SoughtWords, TextAnalyzer};
use crate::limits::{SNIPPET_BYTES_MAX, SNIPPET_MARKS_MAX};

/// How much of the text before the first word found is shown, in bytes at most.
const LEAD_BYTES: usize = 40;
/// Most places of a text that are looked at.
const PLACES_MAX: usize = 512;

/// A part of a text, on one line, with the places of the words found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Snippet {
    /// At most [`SNIPPET_BYTES_MAX`] bytes of the text; `…` stands where it was cut.
    pub text: String,
    /// Where words that were looked for are in `text`: from and to, in bytes. In rising order, at
    /// most [`SNIPPET_MARKS_MAX`].
    pub marks: Vec<(u32, u32)>,
}

impl Snippet {
    /// The part of a text that has most of the words looked for; its beginning, if it has none.
    pub fn of(text: &str, sought: &SoughtWords, analyzer: &TextAnalyzer) -> Snippet {
        let places: Vec<Place> = analyzer
            .words(text)
            .filter(|word| sought.has(word))
            .take(PLACES_MAX)
            .map(|word| Place {
                stem: word.stem.unwrap_or(word.exact),
                range: word.range,
            })
            .collect();
        let best = best(&places).map_or(0, |place| place.range.start);
        let from = beginning(text, best);
        let to = end(text, from);
        let mut snippet = Snippet::default();
        if from > 0 {
            snippet.text.push_str("… ");
        }
        let mut at = from;
        let shown = places
            .iter()
            .filter(|place| place.range.start >= from && place.range.end <= to);
        for place in shown.take(SNIPPET_MARKS_MAX) {
            snippet.add(text, at..place.range.start);
            let start = snippet.text.len();
            snippet.add(text, place.range.clone());
            snippet
                .marks
                .push((short(start), short(snippet.text.len())));
            at = place.range.end;
        }
        snippet.add(text, at..to);
        if to < text.len() {
            snippet.text.push_str(" …");
        }
        snippet
    }

    /// Adds a part of the text; what would break the line becomes a blank.
    fn add(&mut self, text: &str, range: Range<usize>) {
        let characters = text.get(range).unwrap_or_default().chars();
        self.text
            .extend(characters.map(|c| if c.is_control() { ' ' } else { c }));
    }

    /// The text in pieces, each with whether it is a word that was looked for.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, bool)> {
        let mut at = 0;
        let mut pieces = Vec::with_capacity(2 * self.marks.len() + 1);
        for (from, to) in &self.marks {
            let (from, to) = (long(*from), long(*to));
            // Marks that came over the wire may be anything.
            pieces.push((self.text.get(at..from).unwrap_or_default(), false));
            pieces.push((self.text.get(from..to).unwrap_or_default(), true));
            at = at.max(to);
        }
        pieces.push((self.text.get(at..).unwrap_or_default(), false));
        pieces.into_iter().filter(|(piece, _)| !piece.is_empty())
    }
}

/// A word that was looked for.
struct Place {
    stem: String,
    range: Range<usize>,
}

/// Where the stretch begins that has most different words, then most words; the first of these.
fn best(places: &[Place]) -> Option<&Place> {
    let counts = |first: usize| {
        let from = places.get(first).map_or(0, |place| place.range.start);
        let stretch = SNIPPET_BYTES_MAX - 2 * LEAD_BYTES;
        let within = places.iter().skip(first);
        let within: Vec<&str> = within
            .take_while(|place| place.range.end <= from + stretch)
            .map(|place| place.stem.as_str())
            .collect();
        let different: std::collections::BTreeSet<&str> = within.iter().copied().collect();
        (different.len(), within.len())
    };
    let best = (0..places.len()).max_by_key(|first| (counts(*first), std::cmp::Reverse(*first)));
    places.get(best?)
}

/// Where to begin, so that a word does not lose its beginning: a little before `place`.
fn beginning(text: &str, place: usize) -> usize {
    if place <= LEAD_BYTES {
        return 0;
    }
    let mut from = place - LEAD_BYTES;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let lead = text.get(from..place).unwrap_or_default();
    // After a blank; right at the place if there is none.
    lead.find(char::is_whitespace)
        .and_then(|blank| Some(from + blank + lead.get(blank..)?.chars().next()?.len_utf8()))
        .unwrap_or(place)
}

/// Where to end, so that the last word is whole if possible.
fn end(text: &str, from: usize) -> usize {
    // The cut marks at both ends are part of the snippet.
    let room = SNIPPET_BYTES_MAX - 2 * " …".len();
    if text.len() - from <= room {
        return text.len();
    }
    let mut to = from + room;
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    let shown = text.get(from..to).unwrap_or_default();
    let last_blank = shown.rfind(char::is_whitespace).filter(|blank| *blank > 0);
    last_blank.map_or(to, |blank| from + blank)
}

fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn long(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::WordsMode;
    use crate::types::TextLanguage;

    fn snippet(text: &str, query: &str) -> Snippet {
        let analyzer = TextAnalyzer::new(TextLanguage::English);
        let sought = SoughtWords::of(WordsMode::Any, query, &analyzer);
        Snippet::of(text, &sought, &analyzer)
    }

    fn marked(snippet: &Snippet) -> Vec<&str> {
        let marked = snippet.pieces().filter(|(_, is_mark)| *is_mark);
        marked.map(|(piece, _)| piece).collect()
    }

    #[test]
    fn a_short_text_is_shown_whole_with_its_marks() {
        let snippet = snippet("A guide\nto Python", "python GUIDES");
        assert_eq!(snippet.text, "A guide to Python");
        assert_eq!(snippet.marks, [(2, 7), (11, 17)]);
        assert_eq!(marked(&snippet), ["guide", "Python"]);
    }

    #[test]
    fn the_stretch_with_most_different_words_is_shown() {
        let padding = "nothing to see here ".repeat(30);
        let text = format!("python {padding}a guide to python {padding}");
        let snippet = snippet(&text, "python guide");
        assert_eq!(marked(&snippet), ["guide", "python"]);
        assert!(snippet.text.starts_with("… ") && snippet.text.ends_with(" …"));
        assert!(snippet.text.len() <= SNIPPET_BYTES_MAX);
    }

    #[test]
    fn without_a_word_found_the_beginning_is_shown() {
        let text = "größte ".repeat(200);
        let snippet = snippet(&text, "absent");
        assert!(snippet.marks.is_empty());
        assert!(snippet.text.starts_with("größte größte"));
        assert!(snippet.text.ends_with("größte …"), "{}", snippet.text);
    }

    #[test]
    fn marks_are_bounded() {
        let snippet = snippet(&"a b ".repeat(100), "b");
        assert_eq!(snippet.marks.len(), SNIPPET_MARKS_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "[ab ä日\\n\u{301}]{0,600}", query in "[ab ä日]{1,5}") {
            let snippet = snippet(&text, &query);
            prop_assert!(snippet.text.len() <= SNIPPET_BYTES_MAX);
            let whole: String = snippet.pieces().map(|(piece, _)| piece).collect();
            prop_assert_eq!(whole, snippet.text);
        }

        #[test]
        fn marks_of_a_stranger_do_no_harm(marks in proptest::collection::vec((0_u32..40, 0_u32..40), 0..5)) {
            let snippet = Snippet { text: "größe und länge".into(), marks };
            prop_assert!(snippet.pieces().all(|(piece, _)| !piece.is_empty()));
        }
    }
}
