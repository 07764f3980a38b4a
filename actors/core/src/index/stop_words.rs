//! Words that say too little to search by, of each language that has a list here.

use crate::types::TextLanguage;

/// Sorted, lower case.
const DANISH: [&str; 37] = [
    "af", "at", "da", "de", "dem", "den", "der", "det", "du", "efter", "eller", "en", "er", "et",
    "for", "fra", "har", "hun", "i", "ikke", "jeg", "man", "med", "men", "mig", "mod", "og", "om",
    "op", "os", "på", "sig", "som", "til", "var", "ved", "vi",
];

/// Sorted, lower case.
const DUTCH: [&str; 45] = [
    "aan", "al", "als", "bij", "dat", "de", "den", "der", "die", "dit", "door", "een", "en", "er",
    "het", "hij", "ik", "in", "is", "je", "maar", "me", "met", "na", "naar", "niet", "nog", "of",
    "om", "ook", "op", "te", "tot", "uit", "van", "voor", "was", "we", "wel", "werd", "wij", "ze",
    "zich", "zijn", "zo",
];

/// Sorted, lower case.
const ENGLISH: [&str; 48] = [
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "did",
    "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it",
    "its", "of", "on", "or", "so", "such", "than", "that", "the", "their", "then", "there",
    "these", "they", "this", "to", "was", "were", "which", "with",
];

/// Sorted, lower case.
const FRENCH: [&str; 56] = [
    "au", "aux", "avec", "c", "ce", "ces", "cette", "d", "dans", "de", "des", "du", "elle", "en",
    "est", "et", "eu", "il", "ils", "j", "je", "l", "la", "le", "les", "leur", "lui", "m", "mais",
    "me", "n", "ne", "nous", "on", "ou", "où", "par", "pas", "pour", "qu", "que", "qui", "s", "sa",
    "se", "ses", "son", "sont", "sur", "t", "te", "un", "une", "vous", "y", "à",
];

/// Sorted, lower case.
const GERMAN: [&str; 59] = [
    "als", "am", "an", "auch", "auf", "aus", "bei", "bin", "bis", "das", "dass", "dem", "den",
    "der", "des", "die", "doch", "du", "durch", "ein", "eine", "einem", "einen", "einer", "eines",
    "er", "es", "für", "hat", "ich", "ihr", "im", "in", "ist", "mit", "nach", "nicht", "noch",
    "nur", "ob", "oder", "sich", "sie", "sind", "so", "um", "und", "uns", "vom", "von", "vor",
    "war", "was", "wie", "wir", "zu", "zum", "zur", "über",
];

/// Sorted, lower case.
const ITALIAN: [&str; 52] = [
    "a", "ai", "al", "alla", "anche", "che", "chi", "ci", "come", "con", "da", "dai", "dal",
    "dalla", "de", "degli", "dei", "del", "della", "delle", "di", "e", "ed", "gli", "ha", "i",
    "il", "in", "io", "l", "la", "le", "lo", "ma", "mi", "ne", "nel", "nella", "non", "o", "per",
    "più", "se", "si", "sono", "su", "sul", "tra", "un", "una", "uno", "è",
];

/// Sorted, lower case.
const NORWEGIAN: [&str; 35] = [
    "at", "av", "da", "de", "dem", "den", "der", "det", "du", "eller", "en", "er", "et", "for",
    "fra", "han", "har", "hun", "i", "ikke", "jeg", "med", "men", "mot", "og", "om", "opp", "oss",
    "på", "seg", "som", "til", "var", "ved", "vi",
];

/// Sorted, lower case.
const PORTUGUESE: [&str; 48] = [
    "a", "ao", "aos", "as", "com", "como", "da", "das", "de", "do", "dos", "e", "ela", "ele", "em",
    "entre", "era", "foi", "há", "isso", "já", "mais", "mas", "me", "na", "nas", "no", "nos",
    "não", "o", "os", "ou", "para", "pela", "pelo", "por", "que", "se", "sem", "ser", "seu", "sua",
    "são", "um", "uma", "à", "às", "é",
];

/// Sorted, lower case.
const SPANISH: [&str; 45] = [
    "a", "al", "como", "con", "de", "del", "e", "el", "ella", "en", "entre", "era", "es", "esta",
    "este", "fue", "ha", "la", "las", "le", "lo", "los", "me", "mi", "muy", "más", "no", "o",
    "para", "pero", "por", "que", "se", "ser", "si", "sin", "sobre", "su", "sus", "también", "un",
    "una", "uno", "y", "ya",
];

/// Sorted, lower case.
const SWEDISH: [&str; 37] = [
    "att", "av", "de", "dem", "den", "det", "du", "efter", "eller", "en", "er", "ett", "från",
    "för", "han", "har", "hon", "i", "inte", "jag", "med", "men", "mot", "och", "om", "oss", "på",
    "sig", "som", "till", "under", "upp", "ut", "var", "vi", "vid", "är",
];

/// All of a language, in lower case; none if the language has no list.
fn stop_words(language: TextLanguage) -> &'static [&'static str] {
    match language {
        TextLanguage::Danish => &DANISH,
        TextLanguage::Dutch => &DUTCH,
        TextLanguage::English => &ENGLISH,
        TextLanguage::French => &FRENCH,
        TextLanguage::German => &GERMAN,
        TextLanguage::Italian => &ITALIAN,
        TextLanguage::Norwegian => &NORWEGIAN,
        TextLanguage::Portuguese => &PORTUGUESE,
        TextLanguage::Spanish => &SPANISH,
        TextLanguage::Swedish => &SWEDISH,
        TextLanguage::Plain
        | TextLanguage::Arabic
        | TextLanguage::Finnish
        | TextLanguage::Greek
        | TextLanguage::Hungarian
        | TextLanguage::Romanian
        | TextLanguage::Russian
        | TextLanguage::Tamil
        | TextLanguage::Turkish => &[],
    }
}

/// Whether a lower-case word is one of them: it is neither indexed nor searched for.
pub fn is_stop_word(language: TextLanguage, word: &str) -> bool {
    stop_words(language).binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_all_are_found() {
        for (language, name) in TextLanguage::ALL {
            let words = stop_words(language);
            assert!(words.is_sorted(), "{name}");
            assert!(words.iter().all(|word| is_stop_word(language, word)));
        }
        assert!(is_stop_word(TextLanguage::German, "und"));
        assert!(!is_stop_word(TextLanguage::English, "und"));
        assert!(!is_stop_word(TextLanguage::Plain, "the"));
    }
}
