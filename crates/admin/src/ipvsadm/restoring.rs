//! Lines of commands, for `-R`.
//!
//! Promises: the words that ipvsadm's own reader finds: white space parts them, nothing is quoted, `ipvsadm` itself
//! may stand anywhere, and `#` is a word like others.
//! Does not know: what the words mean.

/// The words of each line of `text` that has any.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    let whole = text.ends_with('\n');
    let n_lines = text.split_terminator('\n').count();
    text.split_terminator('\n')
        .enumerate()
        .filter(move |(place, line)| {
            // ipvsadm forgets a last line that ends in several blanks and no line break.
            let is_cut_off = !whole && place + 1 == n_lines;
            let n_blanks = line.chars().rev().take_while(|c| is_blank(*c)).count();
            !(is_cut_off && n_blanks > 1)
        })
        .map(|(_, line)| {
            line.split(is_blank)
                .filter(|word| !word.is_empty() && *word != "ipvsadm")
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|words| !words.is_empty())
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        lines(text).collect()
    }

    #[test]
    fn white_space_parts_words_and_line_breaks_part_lines() {
        let expected = vec![vec!["-A", "-t", "a:80"], vec!["-C"]];
        assert_eq!(words("-A -t a:80\n-C\n"), expected);
        assert_eq!(words("  -A\t-t  a:80 \r\n\n \n-C"), expected);
        assert_eq!(words("ipvsadm -A -t a:80\nipvsadm -C\n"), expected);
    }

    #[test]
    fn a_comment_is_none() {
        assert_eq!(words("# -C\n"), [["#", "-C"]]);
    }

    #[test]
    fn a_last_line_that_ends_in_blanks_alone_is_forgotten() {
        assert_eq!(words("-C "), [["-C"]]);
        assert!(words("-C  ").is_empty());
    }
}
