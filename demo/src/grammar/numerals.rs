//! Numbers the way people say them. In: 0 to 99. Out: English words.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// `number` in words; digits from one hundred on, where people read out digits too.
pub(super) fn words(number: u32) -> String {
    let n = number as usize;
    match n {
        0..20 => ONES[n].to_owned(),
        20..100 if n.is_multiple_of(10) => TENS[n / 10 - 2].to_owned(),
        20..100 => format!("{} {}", TENS[n / 10 - 2], ONES[n % 10]),
        _ => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn numbers_are_said_in_words() {
        let said: Vec<String> = [0, 9, 17, 20, 42, 99].map(words).into();
        let expected = [
            "zero",
            "nine",
            "seventeen",
            "twenty",
            "forty two",
            "ninety nine",
        ];
        assert_eq!(said, expected);
    }
}
