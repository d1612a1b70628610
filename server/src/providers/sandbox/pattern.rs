//! A text that fits a regular expression, for the expressions that schemas use: literals, classes,
//! groups, choices, repetition, anchors at the ends.
//!
//! Leaves: look-around, back references and Unicode properties, which have no example here; and
//! the last word, which is the validator's.

use std::{iter::Peekable, str::Chars};

use super::words::Words;

/// Most characters of an example, so that `{1000000}` costs nothing.
const LONGEST: usize = 4096;
/// How often more than the least an open repetition is repeated at most.
const MORE: usize = 8;
/// Deepest group.
const DEPTH: usize = 32;

enum Node {
    /// One of these characters.
    One(Vec<char>),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, usize, usize),
}

/// A text that the pattern should match; `None` where the pattern is beyond us.
pub(super) fn example(pattern: &str, words: &mut Words) -> Option<String> {
    let mut parser = Parser { rest: pattern.chars().peekable(), depth: 0 };
    let node = parser.choice()?;
    if parser.rest.next().is_some() {
        return None;
    }
    let mut text = String::new();
    write(&node, words, &mut text)?;
    Some(text)
}

fn write(node: &Node, words: &mut Words, text: &mut String) -> Option<()> {
    if text.len() > LONGEST {
        return None;
    }
    match node {
        Node::One(set) => text.push(*set.get(words.below(set.len()))?),
        Node::Sequence(all) => all.iter().try_for_each(|one| write(one, words, text))?,
        Node::Choice(all) => write(all.get(words.below(all.len()))?, words, text)?,
        Node::Repeat(one, least, most) => {
            let count = least + words.below(most - least + 1);
            if count > LONGEST {
                return None;
            }
            (0..count).try_for_each(|_| write(one, words, text))?;
        }
    }
    Some(())
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn choice(&mut self) -> Option<Node> {
        let mut all = vec![self.sequence()?];
        while self.rest.next_if_eq(&'|').is_some() {
            all.push(self.sequence()?);
        }
        Some(Node::Choice(all))
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut all = Vec::new();
        while let Some(next) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let one = match next {
                '^' | '$' => continue,
                '(' => self.group()?,
                '[' => self.class()?,
                '.' => Node::One(('a'..='z').collect()),
                '\\' => Node::One(self.escape()?),
                '*' | '+' | '?' => return None,
                letter => Node::One(vec![letter]),
            };
            all.push(self.repeated(one)?);
        }
        Some(Node::Sequence(all))
    }

    fn group(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        if self.rest.next_if_eq(&'?').is_some() {
            match (self.rest.next()?, self.rest.next_if(|c| matches!(c, '=' | '!'))) {
                (':', None) => {}
                ('<' | 'P', None) => while self.rest.next()? != '>' {},
                _ => return None,
            }
        }
        let inside = self.choice()?;
        self.depth -= 1;
        (self.rest.next()? == ')').then_some(inside)
    }

    fn repeated(&mut self, one: Node) -> Option<Node> {
        let (least, most) = match self.rest.peek() {
            Some('*') => (0, MORE),
            Some('+') => (1, 1 + MORE),
            Some('?') => (0, 1),
            Some('{') => return self.counted(one),
            _ => return Some(one),
        };
        self.rest.next();
        Some(self.lazily(one, least, most))
    }

    fn counted(&mut self, one: Node) -> Option<Node> {
        self.rest.next();
        let mut inside = String::new();
        loop {
            match self.rest.next()? {
                '}' => break,
                c => inside.push(c),
            }
        }
        let (least, most) = match inside.split_once(',') {
            None => (inside.parse().ok()?, inside.parse().ok()?),
            Some((least, "")) => {
                (least.parse().ok()?, least.parse::<usize>().ok()?.checked_add(MORE)?)
            }
            Some((least, most)) => (least.parse().ok()?, most.parse().ok()?),
        };
        (least <= most && most < usize::MAX).then(|| self.lazily(one, least, most))
    }

    fn lazily(&mut self, one: Node, least: usize, most: usize) -> Node {
        self.rest.next_if(|c| matches!(c, '?' | '+'));
        Node::Repeat(Box::new(one), least, most)
    }

    fn class(&mut self) -> Option<Node> {
        let is_negated = self.rest.next_if_eq(&'^').is_some();
        let mut set = Vec::new();
        loop {
            let from = match self.rest.next()? {
                ']' => break,
                '[' => return None,
                '\\' => self.escape()?,
                letter => vec![letter],
            };
            match (from.as_slice(), self.rest.peek()) {
                ([first], Some('-')) => {
                    self.rest.next();
                    match self.rest.next()? {
                        ']' => {
                            set.extend([*first, '-']);
                            break;
                        }
                        '\\' => set.extend(*first..=*self.escape()?.first()?),
                        last => set.extend((*first..=last).take(LONGEST)),
                    }
                }
                _ => set.extend(from),
            }
        }
        if is_negated {
            set = printable().filter(|c| !set.contains(c)).collect();
        }
        (!set.is_empty()).then_some(Node::One(set))
    }

    fn escape(&mut self) -> Option<Vec<char>> {
        let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let set = match self.rest.next()? {
            'd' => ('0'..='9').collect(),
            'w' => printable().filter(is_word).collect(),
            's' => vec![' '],
            'D' => printable().filter(|c| !c.is_ascii_digit()).collect(),
            'W' => printable().filter(|c| !is_word(c)).collect(),
            'S' => printable().filter(|c| *c != ' ').collect(),
            'n' => vec!['\n'],
            'r' => vec!['\r'],
            't' => vec!['\t'],
            letter if letter.is_alphanumeric() => return None,
            sign => vec![sign],
        };
        Some(set)
    }
}

fn printable() -> impl Iterator<Item = char> {
    ' '..='~'
}
