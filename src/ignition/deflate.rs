//! Gzip with the very bytes of Go's `compress/gzip` at its best compression (before Go 1.27), which the reference puts into data URLs.
//!
//! In: any bytes. Out: a gzip member, always beginning `1f 8b 08 00 00 00 00 00 02 ff`. The search for repeats is here, the coding
//! of what it finds in [`block`]. No general library makes these bytes: the choice of matches, of block ends and of code lengths all show.
//!
//! Source: the facts about Go 1.26's encoder; RFC 1951 and RFC 1952 for the format.

mod block;

use block::{Block, Writer};

/// A stream is never shorter: header, a block of at least a byte, the empty last block, trailer.
pub(crate) const SHORTEST: usize = HEADER.len() + 1 + 5 + 8;

/// Compresses `data`, of less than 4 GiB.
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = Writer::after(&HEADER, data.len());
    deflate(data, &mut writer);
    let mut out = writer.finish();
    out.extend(crc32(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}

/// No time, "best compression", "unknown" system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
const MIN_MATCH: usize = 4;
const MAX_MATCH: usize = 258;
const WINDOW: usize = 1 << 15;
/// How many earlier places are looked at.
const CHAIN: usize = 4096;
/// A match of [`MIN_MATCH`] farther away than this costs more than its literals.
const NEAR: usize = 4096;
const BLOCK_TOKENS: usize = 1 << 14;

/// Lazy matching: a match is written only when the next position has no longer one.
fn deflate(data: &[u8], writer: &mut Writer) {
    let mut chains = Chains::over(data);
    let mut block = Block::with_capacity(BLOCK_TOKENS.min(data.len()));
    let mut start = 0;
    let (mut index, mut length, mut distance, mut pending) = (0, MIN_MATCH - 1, 0, false);
    while index < data.len() {
        let top = index;
        let candidate = chains.insert(index);
        let earlier = (length, distance);
        (length, distance) = chains
            .longest(index, candidate, earlier.0)
            .unwrap_or((MIN_MATCH - 1, 0));
        if earlier.0 >= MIN_MATCH && length <= earlier.0 {
            block.repeat(earlier.0, earlier.1);
            let end = index - 1 + earlier.0;
            for inside in index + 1..end {
                chains.insert(inside);
            }
            (index, length, pending) = (end, MIN_MATCH - 1, false);
        } else {
            if pending {
                block.literal(data[index - 1]);
            }
            (index, pending) = (index + 1, true);
        }
        if block.len() == BLOCK_TOKENS {
            let end = if pending { index - 1 } else { index };
            block.close(stored_form(data, start, end, top), writer);
            start = end;
        }
    }
    if let (true, Some(last)) = (pending, data.last()) {
        block.literal(*last);
    }
    if block.len() > 0 {
        block.close(stored_form(data, start, data.len(), data.len()), writer);
    }
}

/// The bytes of a block, where it may be stored as it is. Go's encoder has two windows' length of them, and forgets where a block
/// began that started in the lower half when it moves the upper half down: as soon as a search at `top` needs bytes beyond.
fn stored_form(data: &[u8], start: usize, end: usize, top: usize) -> Option<&[u8]> {
    let lower = start - start % WINDOW;
    let buffered = lower + 2 * WINDOW;
    let moved = data.len() > buffered && top + MIN_MATCH + MAX_MATCH > buffered;
    (!moved && end - start <= usize::from(u16::MAX)).then(|| &data[start..end])
}

/// Earlier places by the hash of the four bytes there, newest first.
struct Chains<'a> {
    data: &'a [u8],
    /// Place + 1 of the newest with this hash, 0: none.
    heads: Vec<u32>,
    /// Place + 1 of the one before, by place modulo window.
    before: Vec<u32>,
    shift: u32,
}

impl<'a> Chains<'a> {
    fn over(data: &'a [u8]) -> Self {
        // Up to CHAIN bytes all places are looked at, so that any hash finds the same; beyond, collisions count, and it must be Go's.
        let bits = if data.len() <= CHAIN {
            usize::BITS - data.len().leading_zeros()
        } else {
            17
        };
        Self {
            data,
            heads: vec![0; 1 << bits],
            before: vec![0; data.len().next_power_of_two().min(WINDOW)],
            shift: u32::BITS - bits,
        }
    }

    /// Enters a place; answers the head of its chain, place + 1.
    #[inline]
    fn insert(&mut self, index: usize) -> u32 {
        let Some(four) = self.data[index..].first_chunk::<4>() else {
            return 0;
        };
        let hash = u32::from_be_bytes(*four).wrapping_mul(0x1e35_a7bd);
        let head = &mut self.heads[(u64::from(hash) >> self.shift) as usize];
        let mask = self.before.len() - 1;
        self.before[index & mask] = *head;
        std::mem::replace(head, index as u32 + 1)
    }

    /// The longest match longer than `than`, the nearest of these: length and distance. One that is not longer would not be used.
    #[inline]
    fn longest(&self, index: usize, head: u32, than: usize) -> Option<(usize, usize)> {
        let here = &self.data[index..];
        let limit = here.len().min(MAX_MATCH);
        if than >= limit {
            return None;
        }
        let oldest = index.saturating_sub(WINDOW);
        let mask = self.before.len() - 1;
        let mut best = than;
        let mut found = None;
        let mut candidate = head as usize;
        // A longer match agrees in the four bytes that end with the first one beyond the best so far.
        let mut tail = four(here, best - 3);
        for _ in 0..CHAIN {
            // 0, none, fails this too.
            if candidate <= oldest {
                break;
            }
            let there = &self.data[candidate - 1..];
            if four(there, best - 3) == tail {
                let length = common(here, there, limit);
                let away = index + 1 - candidate;
                if length > best && (length > MIN_MATCH || away <= NEAR) {
                    best = length;
                    found = Some((length, away));
                    if length >= limit {
                        break;
                    }
                    tail = four(here, best - 3);
                }
            }
            if candidate - 1 == oldest {
                // The link of a place a whole window back is this place's own.
                break;
            }
            candidate = self.before[(candidate - 1) & mask] as usize;
        }
        found
    }
}

#[inline]
fn four(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |four| u32::from_le_bytes(*four))
}

/// How many bytes agree, at most `limit`.
#[inline]
fn common(left: &[u8], right: &[u8], limit: usize) -> usize {
    let (left, right) = (&left[..limit], &right[..limit]);
    let mut length = 0;
    while let (Some(a), Some(b)) = (left[length..].first_chunk(), right[length..].first_chunk()) {
        let difference = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while length < limit && left[length] == right[length] {
        length += 1;
    }
    length
}

/// CRC-32 as gzip has it (IEEE, reflected), eight bytes a step.
fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let mut chunks = data.chunks_exact(8);
    for eight in &mut chunks {
        let low = crc ^ four(eight, 0);
        let high = four(eight, 4);
        crc = (0..4).fold(0, |sum, byte| {
            sum ^ CRC[7 - byte][(low >> (8 * byte)) as usize & 255]
                ^ CRC[3 - byte][(high >> (8 * byte)) as usize & 255]
        });
    }
    for &byte in chunks.remainder() {
        crc = (crc >> 8) ^ CRC[0][((crc ^ u32::from(byte)) & 255) as usize];
    }
    !crc
}

/// `CRC[n][b]`: the sum of byte `b` and `n` zero bytes after it.
static CRC: [[u32; 256]; 8] = {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ ((sum & 1) * 0xedb8_8320);
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let sum = tables[zeros - 1][byte];
            tables[zeros][byte] = (sum >> 8) ^ tables[0][(sum & 255) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
};
