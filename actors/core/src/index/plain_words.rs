//! The simplest rule of what a word is.

/// The words of a text: runs of letters and digits, in lower case.
pub fn plain_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let words: Vec<String> = plain_words("It's Größe 42, (foo_bar)…").collect();
        assert_eq!(words, ["it", "s", "größe", "42", "foo", "bar"]);
    }
}
