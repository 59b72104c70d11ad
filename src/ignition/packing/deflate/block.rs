//! One deflate block: literals and repeats in, bits out, in the form (stored, fixed or own codes)
//! and with the code lengths that Go's encoder chooses.
//!
//! Source: RFC 1951, 3.2; the order of equal choices is Go 1.26's.

/// Literals and repeats up to a block's end.
pub(super) struct Block {
    tokens: Vec<u32>,
    symbols: [u32; SYMBOLS],
    distances: [u32; DISTANCES],
}

impl Block {
    pub(super) fn with_capacity(tokens: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(tokens),
            symbols: [0; SYMBOLS],
            distances: [0; DISTANCES],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    #[inline]
    pub(super) fn literal(&mut self, byte: u8) {
        self.symbols[usize::from(byte)] += 1;
        self.tokens.push(u32::from(byte));
    }

    /// `length` in 3..=258 bytes as they stand `distance` in 1..=32768 bytes before.
    #[inline]
    pub(super) fn repeat(&mut self, length: usize, distance: usize) {
        self.symbols[257 + length_code(length - 3)] += 1;
        self.distances[distance_code(distance - 1)] += 1;
        self.tokens
            .push(REPEAT | ((length - 3) as u32) << 16 | (distance - 1) as u32);
    }

    /// Writes the block in its smallest form and starts anew. `stored`: its bytes, if it may be
    /// stored as it is.
    pub(super) fn close(&mut self, stored: Option<&[u8]>, writer: &mut Writer) {
        self.symbols[END] = 1;
        let symbols = used(&self.symbols).max(1);
        let distances = match used(&self.distances) {
            0 => {
                // A block with codes of its own has a distance code, even if unused.
                self.distances[0] = 1;
                1
            }
            used => used,
        };
        // They count the same in both coded forms, so they decide only against storing.
        let extra =
            extra_bits(&self.symbols[257..], &LENGTHS) + extra_bits(&self.distances, &DISTANCE);
        let own_symbols: [Code; SYMBOLS] = codes(&self.symbols, 15);
        let own_distances: [Code; DISTANCES] = codes(&self.distances, 15);
        let head = Head::of(&own_symbols[..symbols], &own_distances[..distances]);
        let fixed_size = 3
            + extra
            + size(&self.symbols, &FIXED_SYMBOLS)
            + size(&self.distances, &FIXED_DISTANCES);
        let own_size = head.size()
            + extra
            + size(&self.symbols, &own_symbols)
            + size(&self.distances, &own_distances);
        let coded_size = fixed_size.min(own_size);
        match stored {
            Some(bytes) if (bytes.len() + 5) * 8 < coded_size => writer.stored(bytes, false),
            _ if own_size < fixed_size => {
                head.write(symbols, distances, writer);
                self.write(&own_symbols, &own_distances, writer);
            }
            _ => {
                writer.bits(0b010, 3);
                self.write(&FIXED_SYMBOLS, &FIXED_DISTANCES, writer);
            }
        }
        self.tokens.clear();
        self.symbols = [0; SYMBOLS];
        self.distances = [0; DISTANCES];
    }

    fn write(&self, symbols: &[Code; SYMBOLS], distances: &[Code; DISTANCES], writer: &mut Writer) {
        for &token in &self.tokens {
            if token & REPEAT == 0 {
                writer.code(symbols[(token & 255) as usize]);
                continue;
            }
            let (length, distance) = (token >> 16 & 255, token & 0xffff);
            let code = length_code(length as usize);
            writer.code(symbols[257 + code]);
            writer.bits(length - u32::from(LENGTHS[code].base), LENGTHS[code].extra);
            let code = distance_code(distance as usize);
            writer.code(distances[code]);
            writer.bits(
                distance - u32::from(DISTANCE[code].base),
                DISTANCE[code].extra,
            );
        }
        writer.code(symbols[END]);
    }
}

/// Bits to bytes, lowest first.
pub(super) struct Writer {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer {
    /// `head`, then the stream; `expect` bytes will be compressed.
    pub(super) fn after(head: &[u8], expect: usize) -> Self {
        let mut out = Vec::with_capacity(64 + expect / 2);
        out.extend(head);
        Self {
            out,
            held: 0,
            count: 0,
        }
    }

    /// At most 16 bits at once.
    #[inline]
    fn bits(&mut self, bits: u32, count: u8) {
        self.held |= u64::from(bits) << self.count;
        self.count += u32::from(count);
        if self.count >= 32 {
            self.out.extend((self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    #[inline]
    fn code(&mut self, code: Code) {
        self.bits(u32::from(code.bits), code.length);
    }

    fn stored(&mut self, bytes: &[u8], last: bool) {
        self.bits(u32::from(last), 3);
        self.align();
        let length = bytes.len() as u16;
        self.out.extend(length.to_le_bytes());
        self.out.extend((!length).to_le_bytes());
        self.out.extend(bytes);
    }

    fn align(&mut self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.out.extend(&self.held.to_le_bytes()[..bytes]);
        (self.held, self.count) = (0, 0);
    }

    /// The end of the stream, always an empty block of its own.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.stored(&[], true);
        self.out
    }
}

/// Set in a token that is a repeat: length - 3 in bits 16..24, distance - 1 below.
const REPEAT: u32 = 1 << 31;
/// Of literals, the end and lengths.
const SYMBOLS: usize = 286;
const DISTANCES: usize = 30;
/// The symbol that ends a block.
const END: usize = 256;

/// How the lengths of a block's own codes are written: as symbols 0 to 15, and 16 to 18 for runs,
/// with the run's extra bits.
struct Head {
    runs: Vec<(u8, u8)>,
    frequencies: [u32; 19],
    codes: [Code; 19],
    /// How many lengths of `codes` are written.
    written: usize,
}

impl Head {
    fn of(symbols: &[Code], distances: &[Code]) -> Self {
        let lengths: Vec<u8> = symbols
            .iter()
            .chain(distances)
            .map(|code| code.length)
            .collect();
        let mut runs = Vec::with_capacity(lengths.len());
        for same in lengths.chunk_by(|a, b| a == b) {
            let mut left = same.len();
            if same[0] == 0 {
                while left >= 11 {
                    let run = left.min(138);
                    runs.push((18, (run - 11) as u8));
                    left -= run;
                }
                if left >= 3 {
                    runs.push((17, (left - 3) as u8));
                    left = 0;
                }
            } else {
                runs.push((same[0], 0));
                left -= 1;
                while left >= 3 {
                    let run = left.min(6);
                    runs.push((16, (run - 3) as u8));
                    left -= run;
                }
            }
            runs.extend(std::iter::repeat_n((same[0], 0), left));
        }
        let mut frequencies = [0; 19];
        for (symbol, _) in &runs {
            frequencies[usize::from(*symbol)] += 1;
        }
        let written = HEAD_ORDER
            .iter()
            .rposition(|symbol| frequencies[*symbol] > 0)
            .map_or(4, |last| (last + 1).max(4));
        Self {
            codes: codes(&frequencies, 7),
            runs,
            frequencies,
            written,
        }
    }

    fn size(&self) -> usize {
        let extra: u32 = (16..19)
            .map(|run| self.frequencies[run] * u32::from(run_bits(run as u8)))
            .sum();
        3 + 5 + 5 + 4 + 3 * self.written + size(&self.frequencies, &self.codes) + extra as usize
    }

    fn write(&self, symbols: usize, distances: usize, writer: &mut Writer) {
        writer.bits(0b100, 3);
        writer.bits(symbols as u32 - 257, 5);
        writer.bits(distances as u32 - 1, 5);
        writer.bits(self.written as u32 - 4, 4);
        for symbol in &HEAD_ORDER[..self.written] {
            writer.bits(u32::from(self.codes[*symbol].length), 3);
        }
        for (symbol, extra) in &self.runs {
            writer.code(self.codes[usize::from(*symbol)]);
            writer.bits(u32::from(*extra), run_bits(*symbol));
        }
    }
}

/// RFC 1951, 3.2.7.
const HEAD_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

fn run_bits(symbol: u8) -> u8 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// A prefix code's word, first bit lowest.
#[derive(Clone, Copy)]
struct Code {
    bits: u16,
    length: u8,
}

const UNUSED: Code = Code { bits: 0, length: 0 };

/// Canonical codes of at most `limit` bits for these frequencies.
fn codes<const N: usize>(frequencies: &[u32; N], limit: usize) -> [Code; N] {
    let mut leaves: Vec<(u32, usize)> = frequencies
        .iter()
        .enumerate()
        .filter(|(_, frequency)| **frequency > 0)
        .map(|(symbol, frequency)| (*frequency, symbol))
        .collect();
    let mut lengths = [0; N];
    if leaves.len() <= 2 {
        for (_, symbol) in &leaves {
            lengths[*symbol] = 1;
        }
    } else {
        leaves.sort_unstable();
        // The rarest have the longest codes.
        let mut next = 0;
        for (length, count) in length_counts(&leaves, limit.min(leaves.len() - 1))
            .into_iter()
            .rev()
        {
            for (_, symbol) in &leaves[next..next + count] {
                lengths[*symbol] = length;
            }
            next += count;
        }
    }
    canonical(&lengths)
}

/// How many codes have each length, shortest first: package-merge over leaves sorted by frequency,
/// a pair before a leaf of its weight.
fn length_counts(leaves: &[(u32, usize)], limit: usize) -> Vec<(u8, usize)> {
    // Of the list of each level: its weights, and how many of its first `n` are leaves.
    let needed = 2 * leaves.len() - 2;
    let mut below: Vec<u32> = Vec::new();
    let mut leaves_before: Vec<Vec<u16>> = Vec::with_capacity(limit);
    for _ in 0..limit {
        let mut level = Vec::with_capacity(needed);
        let mut counts = Vec::with_capacity(needed + 1);
        counts.push(0);
        let (mut leaf, mut pairs) = (
            0,
            below
                .chunks_exact(2)
                .map(|pair| pair[0] + pair[1])
                .peekable(),
        );
        while level.len() < needed {
            match (leaves.get(leaf), pairs.peek()) {
                (Some((weight, _)), pair) if pair.is_none_or(|pair| weight < pair) => {
                    level.push(*weight);
                    leaf += 1;
                }
                (_, Some(_)) => level.extend(pairs.next()),
                (_, None) => break,
            }
            counts.push(leaf as u16);
        }
        below = level;
        leaves_before.push(counts);
    }
    // From the top: the leaves among the first `take` have a bit more, and each pair takes two of
    // the level below.
    let mut take = needed;
    let mut at_least = Vec::with_capacity(limit + 1);
    for counts in leaves_before.iter().rev() {
        let leaves = usize::from(counts[take]);
        at_least.push(leaves);
        take = 2 * (take - leaves);
    }
    at_least.push(0);
    (1u8..)
        .zip(at_least.windows(2).map(|pair| pair[0] - pair[1]))
        .collect()
}

/// RFC 1951, 3.2.2: within one length in the order of symbols.
const fn canonical<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut counts = [0u16; 16];
    let mut symbol = 0;
    while symbol < N {
        counts[lengths[symbol] as usize] += 1;
        symbol += 1;
    }
    counts[0] = 0;
    let mut next = [0u16; 17];
    let mut length = 1;
    while length < 16 {
        next[length + 1] = (next[length] + counts[length]) << 1;
        length += 1;
    }
    let mut codes = [UNUSED; N];
    let mut symbol = 0;
    while symbol < N {
        let length = lengths[symbol];
        if length > 0 {
            let word = next[length as usize];
            next[length as usize] += 1;
            codes[symbol] = Code {
                bits: word.reverse_bits() >> (16 - length),
                length,
            };
        }
        symbol += 1;
    }
    codes
}

static FIXED_SYMBOLS: [Code; SYMBOLS] = {
    // The two lengths that deflate does not use belong to the canonical order.
    let mut lengths = [8u8; 288];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    let all = canonical(&lengths);
    let mut codes = [UNUSED; SYMBOLS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        codes[symbol] = all[symbol];
        symbol += 1;
    }
    codes
};

static FIXED_DISTANCES: [Code; DISTANCES] = canonical(&[5; DISTANCES]);

fn size<const N: usize>(frequencies: &[u32; N], codes: &[Code; N]) -> usize {
    frequencies
        .iter()
        .zip(codes)
        .map(|(frequency, code)| *frequency as usize * usize::from(code.length))
        .sum()
}

fn extra_bits(frequencies: &[u32], ranges: &[Range]) -> usize {
    frequencies
        .iter()
        .zip(ranges)
        .map(|(frequency, range)| *frequency as usize * usize::from(range.extra))
        .sum()
}

/// One past the last used symbol.
fn used(frequencies: &[u32]) -> usize {
    frequencies
        .iter()
        .rposition(|frequency| *frequency > 0)
        .map_or(0, |last| last + 1)
}

/// What a length or distance code stands for: `base` and the number in the extra bits (lengths
/// count from 3, distances from 1).
#[derive(Clone, Copy)]
struct Range {
    base: u16,
    extra: u8,
}

/// RFC 1951, 3.2.5. The last one is for 258 alone.
static LENGTHS: [Range; 29] = {
    let mut ranges = ranges::<29>(4);
    ranges[28] = Range {
        base: 255,
        extra: 0,
    };
    ranges
};

static DISTANCE: [Range; DISTANCES] = ranges(2);

/// `step` codes for each number of extra bits, twice as many without.
const fn ranges<const N: usize>(step: usize) -> [Range; N] {
    let mut ranges = [Range { base: 0, extra: 0 }; N];
    let mut code = 1;
    while code < N {
        let before = ranges[code - 1];
        ranges[code] = Range {
            base: before.base + (1 << before.extra),
            extra: if code < 2 * step {
                0
            } else {
                (code / step - 1) as u8
            },
        };
        code += 1;
    }
    ranges
}

/// The code of a length, given less 3.
#[inline]
fn length_code(length: usize) -> usize {
    usize::from(LENGTH_CODES[length & 255])
}

static LENGTH_CODES: [u8; 256] = inverse(&LENGTHS, 0);

/// The code of a distance, given less 1.
#[inline]
fn distance_code(distance: usize) -> usize {
    if distance < 256 {
        usize::from(NEAR_CODES[distance])
    } else {
        usize::from(FAR_CODES[(distance >> 7) & 255])
    }
}

static NEAR_CODES: [u8; 256] = inverse(&DISTANCE, 0);
static FAR_CODES: [u8; 256] = inverse(&DISTANCE, 7);

/// The code of each number that has its low `shift` bits dropped.
const fn inverse<const N: usize>(ranges: &[Range; N], shift: u32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut number = 0;
    while number < 256 {
        let mut code = N - 1;
        while (ranges[code].base as usize) > number << shift {
            code -= 1;
        }
        table[number] = code as u8;
        number += 1;
    }
    table
}
