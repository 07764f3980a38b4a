//! English words that say too little to search by.

/// Sorted, lower case.
const STOP_WORDS: [&str; 48] = [
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "did",
    "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it",
    "its", "of", "on", "or", "so", "such", "than", "that", "the", "their", "then", "there",
    "these", "they", "this", "to", "was", "were", "which", "with",
];

/// All of them, in lower case.
pub fn stop_words() -> impl Iterator<Item = &'static str> {
    STOP_WORDS.into_iter()
}

/// Whether a lower-case word is one of them: it is neither indexed nor searched for.
pub fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_all_are_found() {
        assert!(STOP_WORDS.is_sorted());
        assert!(stop_words().all(is_stop_word));
        assert!(!is_stop_word("python"));
    }
}
