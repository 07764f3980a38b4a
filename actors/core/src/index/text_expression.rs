//! The query language of searches by words.
//!
//! | written | finds entries that |
//! |---|---|
//! | `python guide` | have both words, in any form (`guides`) |
//! | `python OR rust`, `(a OR b) c` | have either; `AND` may be written, and binds closer than `OR` |
//! | `python NOT snake`, `python -snake` | do not have the second |
//! | `"quick brown fox"` | have these words side by side |
//! | `program*` | have a word that begins so |
//! | `key:profile`, `key:"user 1"` | have these words in their key |
//! | `key:user:1*` | have a key that begins exactly so |
//! | `tag:eu`, `tag:"two words"` | have exactly this tag |
//!
//! Operators are written in capitals. A backslash takes the meaning from the character after it.
//! There are no regular expressions, ranges or boosts.

use crate::limits::{EXPRESSION_DEPTH_MAX, SEARCH_WORDS_MAX};

/// Words that join or exclude.
const OPERATORS: [&str; 3] = ["AND", "OR", "NOT"];

/// What an entry must be like. See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextExpression {
    /// Like each of these. At least one of them is not a [`TextExpression::Not`].
    All(Vec<TextExpression>),
    /// Like one of these. None of them is a [`TextExpression::Not`].
    Any(Vec<TextExpression>),
    /// Not like this. Only found in [`TextExpression::All`].
    Not(Box<TextExpression>),
    /// It has all of these words, in any form.
    Words(TextField, String),
    /// It has these words side by side.
    Phrase(TextField, String),
    /// It has a word that begins so.
    Prefix(String),
    /// Its key begins so.
    KeyPrefix(String),
    /// It has this tag.
    Tag(String),
}

/// Where words are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextField {
    /// In everything that is indexed of an entry.
    Everything,
    /// In its key.
    Key,
}

/// A text that is no expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}, at character {position} of the query")]
pub struct ExpressionError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What is wrong there.
    pub problem: String,
}

impl TextExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ExpressionError`] points at the place that makes no sense.
    pub fn parse(text: &str) -> Result<TextExpression, ExpressionError> {
        let mut parser = Parser {
            characters: text.chars().collect(),
            at: 0,
            depth: 0,
            leaves: 0,
        };
        let expression = parser.any_of()?;
        match parser.peek() {
            None => Ok(expression),
            Some(_) => Err(parser.error("this closes nothing")),
        }
    }
}

struct Parser {
    characters: Vec<char>,
    at: usize,
    depth: usize,
    leaves: usize,
}

/// A run of characters that belong together.
struct Word {
    from: usize,
    text: String,
    quoted: bool,
    starred: bool,
    /// What stood before the first colon that was not escaped.
    field: Option<String>,
}

impl Parser {
    fn peek(&mut self) -> Option<char> {
        while self
            .characters
            .get(self.at)
            .is_some_and(|c| c.is_whitespace())
        {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    fn error(&self, problem: impl Into<String>) -> ExpressionError {
        self.error_at(self.at, problem)
    }

    fn error_at(&self, at: usize, problem: impl Into<String>) -> ExpressionError {
        ExpressionError {
            position: at + 1,
            problem: problem.into(),
        }
    }

    /// Whether this operator comes next; takes it if so.
    fn operator(&mut self, name: &str) -> bool {
        self.peek();
        let end = self.at + name.len();
        let found = self.characters.get(self.at..end);
        let ends = |c: &char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
        let whole = self.characters.get(end).is_none_or(ends);
        let is = whole && found.is_some_and(|found| found.iter().copied().eq(name.chars()));
        if is {
            self.at = end;
        }
        is
    }

    fn any_of(&mut self) -> Result<TextExpression, ExpressionError> {
        let mut parts = Vec::new();
        loop {
            parts.push(self.all_of()?);
            if !self.operator("OR") {
                break;
            }
        }
        Ok(single(parts, TextExpression::Any))
    }

    fn all_of(&mut self) -> Result<TextExpression, ExpressionError> {
        self.peek();
        let from = self.at;
        let mut parts = Vec::new();
        loop {
            if self.operator("OR") {
                self.at -= 2;
                break;
            }
            if matches!(self.peek(), None | Some(')')) {
                break;
            }
            parts.push(self.not()?);
            if self.operator("AND") && matches!(self.peek(), None | Some(')')) {
                return Err(self.error("something must follow AND"));
            }
        }
        if parts.is_empty() {
            return Err(self.error("something to look for is missing"));
        }
        if parts
            .iter()
            .all(|part| matches!(part, TextExpression::Not(_)))
        {
            let problem = "NOT alone finds nothing: it leaves out of what something else finds";
            return Err(self.error_at(from, problem));
        }
        Ok(single(parts, TextExpression::All))
    }

    fn not(&mut self) -> Result<TextExpression, ExpressionError> {
        let dashed = self.peek() == Some('-')
            && self
                .characters
                .get(self.at + 1)
                .is_some_and(|c| !c.is_whitespace());
        if dashed {
            self.at += 1;
        } else if !self.operator("NOT") {
            return self.part();
        }
        Ok(TextExpression::Not(Box::new(self.part()?)))
    }

    fn part(&mut self) -> Result<TextExpression, ExpressionError> {
        match self.peek() {
            None => Err(self.error("something to look for is missing")),
            Some('(') => {
                let open = self.at;
                if self.depth >= EXPRESSION_DEPTH_MAX {
                    let problem =
                        format!("brackets are nested {EXPRESSION_DEPTH_MAX} deep at most");
                    return Err(self.error(problem));
                }
                self.at += 1;
                self.depth += 1;
                let inner = self.any_of()?;
                self.depth -= 1;
                if self.peek() != Some(')') {
                    return Err(self.error_at(open, "this bracket is not closed"));
                }
                self.at += 1;
                Ok(inner)
            }
            Some(')') => Err(self.error("something to look for is missing")),
            Some(_) => {
                let from = self.at;
                if OPERATORS.iter().any(|name| self.operator(name)) {
                    let problem = "something to look for is missing before this operator: \
                                   put it in quotes if you look for the word itself";
                    return Err(self.error_at(from, problem));
                }
                self.leaves += 1;
                if self.leaves > SEARCH_WORDS_MAX {
                    let problem = format!("a query has {SEARCH_WORDS_MAX} words at most");
                    return Err(self.error(problem));
                }
                let word = self.word()?;
                self.leaf(word)
            }
        }
    }

    fn word(&mut self) -> Result<Word, ExpressionError> {
        let mut word = Word {
            from: self.at,
            text: String::new(),
            quoted: false,
            starred: false,
            field: None,
        };
        while let Some(&character) = self.characters.get(self.at) {
            match character {
                '"' if word.text.is_empty() => {
                    self.quoted(&mut word)?;
                    break;
                }
                '(' | ')' | '"' => break,
                '\\' => {
                    self.at += 1;
                    let escaped = self.characters.get(self.at);
                    let escaped =
                        escaped.ok_or_else(|| self.error("nothing follows the backslash"))?;
                    word.text.push(*escaped);
                }
                '*' => {
                    self.at += 1;
                    word.starred = true;
                    break;
                }
                ':' if word.field.is_none() => word.field = Some(std::mem::take(&mut word.text)),
                character if character.is_whitespace() => break,
                character => word.text.push(character),
            }
            self.at += 1;
        }
        let ends = |c: &char| c.is_whitespace() || matches!(c, '(' | ')');
        let at_end = self.characters.get(self.at).is_none_or(ends);
        if word.starred && !at_end {
            return Err(self.error("a star stands at the end of a word"));
        }
        Ok(word)
    }

    fn quoted(&mut self, word: &mut Word) -> Result<(), ExpressionError> {
        let open = self.at;
        self.at += 1;
        word.quoted = true;
        loop {
            match self.characters.get(self.at) {
                None => return Err(self.error_at(open, "this quotation mark is not closed")),
                Some('"') => break,
                Some('\\') => {
                    self.at += 1;
                    word.text.extend(self.characters.get(self.at));
                }
                Some(character) => word.text.push(*character),
            }
            self.at += 1;
        }
        self.at += 1;
        if self.characters.get(self.at) == Some(&'*') {
            self.at += 1;
            word.starred = true;
        }
        Ok(())
    }

    fn leaf(&self, word: Word) -> Result<TextExpression, ExpressionError> {
        let Word {
            from,
            text,
            quoted,
            starred,
            field,
        } = word;
        let field = match field.as_deref() {
            None => TextField::Everything,
            Some("key") => TextField::Key,
            Some("tag") if starred => return Err(self.error_at(from, "a tag is named in full")),
            Some("tag") if !text.is_empty() => return Ok(TextExpression::Tag(text)),
            Some("tag") => return Err(self.error_at(from, "a tag is missing after the colon")),
            Some(other) => {
                let problem = format!(
                    "there is no field {other:?}, only key and tag: write \\: for a colon itself"
                );
                return Err(self.error_at(from, problem));
            }
        };
        if text.is_empty() {
            return Err(self.error_at(from, "a word is missing"));
        }
        match (field, starred, quoted) {
            (TextField::Key, true, _) => Ok(TextExpression::KeyPrefix(text)),
            (_, true, true) => Err(self.error_at(from, "a star follows a word, not a phrase")),
            (_, true, false) => Ok(TextExpression::Prefix(text)),
            (field, false, true) => Ok(TextExpression::Phrase(field, text)),
            (field, false, false) => Ok(TextExpression::Words(field, text)),
        }
    }
}

fn single(
    mut parts: Vec<TextExpression>,
    several: fn(Vec<TextExpression>) -> TextExpression,
) -> TextExpression {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            several(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TextExpression::{All, Any, KeyPrefix, Not, Phrase, Prefix, Tag, Words};
    use super::*;

    fn word(text: &str) -> TextExpression {
        Words(TextField::Everything, text.into())
    }

    fn not(part: TextExpression) -> TextExpression {
        Not(Box::new(part))
    }

    #[test]
    fn expressions_mean_what_the_table_says() {
        let key = TextField::Key;
        for (text, meaning) in [
            ("python guide", All(vec![word("python"), word("guide")])),
            ("python AND guide", All(vec![word("python"), word("guide")])),
            (
                "a OR b c",
                Any(vec![word("a"), All(vec![word("b"), word("c")])]),
            ),
            (
                "(a OR b) c",
                All(vec![Any(vec![word("a"), word("b")]), word("c")]),
            ),
            ("a NOT b", All(vec![word("a"), not(word("b"))])),
            ("a -b", All(vec![word("a"), not(word("b"))])),
            (
                "a AND NOT (b OR c)",
                All(vec![word("a"), not(Any(vec![word("b"), word("c")]))]),
            ),
            ("well-known", word("well-known")),
            (
                "\"a \\\" b\"",
                Phrase(TextField::Everything, "a \" b".into()),
            ),
            ("program*", Prefix("program".into())),
            ("key:profile", Words(key, "profile".into())),
            ("key:\"user 1\"", Phrase(key, "user 1".into())),
            ("key:user:1*", KeyPrefix("user:1".into())),
            ("key:\"a b\"*", KeyPrefix("a b".into())),
            ("tag:eu", Tag("eu".into())),
            ("tag:\"two words\"", Tag("two words".into())),
            ("user\\:1", word("user:1")),
            ("ORANGE ANDES", All(vec![word("ORANGE"), word("ANDES")])),
            ("  a  ", word("a")),
        ] {
            assert_eq!(TextExpression::parse(text), Ok(meaning), "{text}");
        }
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, position, problem) in [
            ("", 1, "missing"),
            ("a OR", 5, "missing"),
            ("OR a", 1, "missing"),
            ("a AND", 6, "follow AND"),
            ("(a b", 1, "not closed"),
            ("a)", 2, "closes nothing"),
            ("a ()", 4, "missing"),
            ("größe \"b", 7, "not closed"),
            ("a NOT", 6, "missing"),
            ("AND a", 1, "before this operator"),
            ("a AND AND b", 7, "before this operator"),
            ("a NOT NOT b", 7, "before this operator"),
            ("a NOT OR b", 7, "before this operator"),
            ("NOT a", 1, "NOT alone"),
            ("a OR -b", 6, "NOT alone"),
            ("user:1", 1, "no field \"user\""),
            ("x tag:", 3, "a tag is missing"),
            ("tag:e*", 1, "in full"),
            ("key:", 1, "a word is missing"),
            ("jo*n", 4, "end of a word"),
            ("\"a b\"*x", 7, "end of a word"),
            ("\"a b\"*", 1, "not a phrase"),
            ("a \\", 4, "backslash"),
        ] {
            let error = TextExpression::parse(text).expect_err(text);
            assert!(error.problem.contains(problem), "{text}: {error}");
            assert_eq!(error.position, position, "{text}: {error}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let deep = "(".repeat(EXPRESSION_DEPTH_MAX + 1);
        let error = TextExpression::parse(&deep).expect_err("too deep");
        assert_eq!(error.position, EXPRESSION_DEPTH_MAX + 1);
        let long = "a ".repeat(SEARCH_WORDS_MAX + 1);
        assert!(TextExpression::parse(&long).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[ab \\\\()\":*ÄORNTADkeytag-]{0,40}") {
            let _ = TextExpression::parse(&text);
        }
    }
}
