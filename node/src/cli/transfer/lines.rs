//! Lines of a file, each bounded, with their numbers.

use std::io::{self, BufRead};

use engram_core::limits::{KEY_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX, VALUE_BYTES_MAX};

/// Longest line, in bytes: JSON writes a byte with six at most, as in `\u0000`.
const LINE_BYTES_MAX: usize =
    6 * (VALUE_BYTES_MAX + KEY_BYTES_MAX + TAGS_MAX * TAG_BYTES_MAX) + 4096;

/// One line that is not blank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Line {
    /// Its number; the first line has number 1.
    pub(in crate::cli) number: u64,
    /// Bytes read so far, this line included.
    pub(in crate::cli) position: u64,
    /// Its bytes, without the end of the line; none if it is too long.
    pub(in crate::cli) bytes: Option<Vec<u8>>,
}

/// Goes through the lines of a file. What is too long is passed over without being kept.
pub(in crate::cli) struct Lines<R> {
    from: R,
    number: u64,
    position: u64,
    bytes_max: usize,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `from`.
    pub(in crate::cli) fn new(from: R) -> Lines<R> {
        Lines {
            from,
            number: 0,
            position: 0,
            bytes_max: LINE_BYTES_MAX,
        }
    }

    /// Reads up to the end of the line; none at the end of the file.
    fn read(&mut self) -> io::Result<Option<Line>> {
        let (mut bytes, mut length, mut is_there) = (Vec::new(), 0_usize, false);
        loop {
            let chunk = self.from.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            is_there = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let text = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or(chunk);
            length += text.len();
            if length <= self.bytes_max {
                bytes.extend_from_slice(text);
            }
            let used = text.len() + usize::from(end.is_some());
            self.from.consume(used);
            self.position += used as u64;
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        let is_whole = length <= self.bytes_max;
        Ok(is_there.then(|| Line {
            number: self.number,
            position: self.position,
            bytes: is_whole.then_some(bytes),
        }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        loop {
            match self.read() {
                Ok(Some(line)) => {
                    let is_blank = line
                        .bytes
                        .as_ref()
                        .is_some_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace));
                    if !is_blank {
                        return Some(Ok(line));
                    }
                }
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_numbered_bounded_and_blank_ones_left_out() {
        let text = b"ab\n\n \r\n0123456789\ncd\r\nlast";
        for capacity in [1, 3, 100] {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, &text[..]));
            lines.bytes_max = 8;
            let seen: Vec<_> = lines
                .map(|line| line.expect("memory can be read"))
                .map(|line| (line.number, line.position, line.bytes))
                .collect();
            let expected = [
                (1, 3, Some(b"ab".to_vec())),
                (4, 18, None),
                (5, 22, Some(b"cd\r".to_vec())),
                (6, 26, Some(b"last".to_vec())),
            ];
            assert_eq!(seen, expected, "capacity {capacity}");
        }
    }
}
