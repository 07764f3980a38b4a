//! Unicode folding: words that differ in case, accents or width only become the same.

use unicode_normalization::UnicodeNormalization;

/// Accents of Latin, Greek and Cyrillic letters. Marks of other scripts tell words apart.
fn is_accent(character: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&character)
}

/// Whether a character is part of a word.
pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || is_accent(character)
}

/// A word in lower case, composed, and in its usual width.
pub(super) fn lower(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    word.nfkc().collect::<String>().to_lowercase()
}

/// A lower-case word without accents, with letters that Unicode does not take apart spelled out.
pub(super) fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    let mut folded = String::with_capacity(word.len());
    for character in word.nfkd().filter(|c| !is_accent(*c)) {
        match character {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ð' | 'đ' => folded.push('d'),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'ħ' => folded.push('h'),
            'ŧ' => folded.push('t'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            other => folded.push(other),
        }
    }
    // Composed again, so that a syllable of Hangul stays one character; and once more, for marks that
    // come together where something between them was left out have an order of their own.
    folded.nfc().filter(|c| is_word(*c)).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_width_make_no_difference() {
        for (written, folded) in [
            ("Café", "cafe"),
            ("cafe\u{301}", "cafe"),
            ("GRÖSSE", "grosse"),
            ("größe", "grosse"),
            ("Ｗｉｄｅ", "wide"),
            ("Łódź", "lodz"),
            ("Ærø", "aero"),
            ("ΌΔΟΣ", "οδοσ"),
            ("ёлка", "елка"),
            ("İstanbul", "istanbul"),
            ("ﬁre", "fire"),
            ("한국", "한국"),
            ("が", "が"),
            ("plain42", "plain42"),
            ("\u{f71}\u{fffc}\u{c55}", "\u{c55}\u{f71}"),
        ] {
            assert_eq!(fold(&lower(written)), folded, "{written}");
        }
    }

    proptest::proptest! {
        #[test]
        fn folding_again_changes_nothing(word in "\\PC{0,20}") {
            let once = fold(&lower(&word));
            proptest::prop_assert_eq!(fold(&lower(&once)), once);
        }
    }
}
