use super::*;

/// What kind of difference is found, in one letter.
fn found(asked: &str, stored: &str) -> char {
    let kind = |difference: Option<Difference>| match difference {
        None => '=',
        Some(Difference::Numbers) => '#',
        Some(Difference::Negation) => '!',
        Some(Difference::Opposite(..)) => 'o',
        Some(Difference::Order) => '~',
        Some(Difference::Name(_)) => 'n',
    };
    let forth = kind(difference(asked, stored));
    assert_eq!(
        forth,
        kind(difference(stored, asked)),
        "it depends on which comes first: {asked:?}, {stored:?}"
    );
    forth
}

#[test]
fn what_turns_a_question_around_is_found() {
    for (asked, stored, expected) in [
        (
            "How do I enable the cache?",
            "How do I disable the cache?",
            'o',
        ),
        (
            "Enabling two-factor login",
            "disabling two-factor login",
            'o',
        ),
        ("coffee with sugar", "coffee without sugar", 'o'),
        (
            "How do I connect the printer?",
            "How do I disconnect the printer?",
            'o',
        ),
        ("Is this legal?", "Is this illegal?", 'o'),
        ("why is it synchronised", "why is it unsynchronised", 'o'),
        ("turn the light on", "turn the light off", 'o'),
        ("stopped the server", "started the server", 'o'),
        ("Can I eat this?", "Can't I eat this?", '!'),
        ("Can I eat this?", "Can\u{2019}t I eat this?", '!'),
        (
            "foods that contain gluten",
            "foods that never contain gluten",
            '!',
        ),
        ("add 5 items", "add 50 items", '#'),
        ("Python 3.11 release", "Python 3.12 release", '#'),
        ("for two people", "for three people", '#'),
        ("is it below -5 degrees", "is it below 5 degrees", '#'),
        (
            "convert pounds to kilograms",
            "convert kilograms to pounds",
            '~',
        ),
        ("Is Rust faster than Go", "Is Go faster than Rust", '~'),
        ("did Alice pay Bob", "did Bob pay Alice", '~'),
        ("the weather in Paris", "the weather in London", 'n'),
        ("how to sort in C", "how to sort in C++", 'n'),
        ("what does a < b mean", "what does a > b mean", 'n'),
    ] {
        assert_eq!(found(asked, stored), expected, "{asked:?}, {stored:?}");
    }
}

#[test]
fn what_says_the_same_passes() {
    for (asked, stored) in [
        ("How do I enable the cache?", "How can I enable caching?"),
        ("how do i reset my password", "How do I reset my password?"),
        (
            "What is the capital of France?",
            "what's the capital city of france",
        ),
        ("1,000 metres in miles", "1000 metres in miles"),
        ("for 2 people", "for two people"),
        ("Why doesn't it start?", "Why does it not start?"),
        ("HOW DO I RESET MY PASSWORD", "how do I reset my password"),
        ("The weather in Paris", "Paris weather"),
        ("", ""),
        ("?!", "..."),
        ("käse und brot", "brot und käse"),
    ] {
        assert_eq!(found(asked, stored), '=', "{asked:?}, {stored:?}");
    }
}

#[test]
fn opposites_are_listed_once_and_are_not_alike() {
    for (place, (one, other)) in OPPOSITES.iter().enumerate() {
        assert_ne!(stem(one), stem(other), "{one} and {other}");
        let again = OPPOSITES.iter().skip(place + 1);
        let mut again = again.filter(|pair| *pair == &(*one, *other) || *pair == &(*other, *one));
        assert!(again.next().is_none(), "{one} and {other} are listed twice");
    }
}

#[test]
fn any_text_is_taken() {
    for text in [
        "'",
        "''a'b''",
        "-",
        "-5",
        "1.",
        ".1",
        "a.b",
        "\u{2019}\u{2019}",
        "C+ +",
        "<<>>",
        "I'm",
        "ß",
        "日本語",
    ] {
        assert_eq!(difference(text, text), None, "{text:?}");
    }
}
