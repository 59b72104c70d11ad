//! Gzip with the very bytes of Go's `compress/gzip` at its best compression (before Go 1.27), which
//! the reference puts into data URLs.
//!
//! In: any bytes. Out: a gzip member, always beginning `1f 8b 08 00 00 00 00 00 02 ff`. The search
//! for repeats is here, the coding of what it finds in [`block`]. No general library makes these
//! bytes: the choice of matches, of block ends and of code lengths all show.
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
/// How many places of one chain are looked at before a shorter chain is looked for.
const PATIENCE: usize = 96;
const BLOCK_TOKENS: usize = 1 << 14;

/// Lazy matching: a match is written only when the next position has no longer one.
fn deflate(data: &[u8], writer: &mut Writer) {
    let mut chains = Chains::over(data);
    let mut block = Block::with_capacity(BLOCK_TOKENS.min(data.len()));
    let mut start = 0;
    let (mut index, mut length, mut distance, mut pending) = (0, MIN_MATCH - 1, 0, false);
    while index < data.len() {
        chains.move_to(index);
        chains.insert(index);
        let earlier = (length, distance);
        (length, distance) = chains
            .longest(index, earlier.0)
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
            block.close(chains.stored_form(start, end), writer);
            start = end;
        }
    }
    if let (true, Some(last)) = (pending, data.last()) {
        block.literal(*last);
    }
    if block.len() > 0 {
        block.close(chains.stored_form(start, data.len()), writer);
    }
}

/// Earlier places by the hash of the four bytes there, newest first.
struct Chains<'a> {
    data: &'a [u8],
    /// Place + 1 of the newest with this hash, 0: none.
    heads: Vec<u32>,
    /// By place modulo window.
    links: Vec<Link>,
    /// The link that the newest place has taken the room of: that of the place a whole window back.
    replaced: Link,
    shift: u32,
    /// The place where Go's buffer begins.
    base: usize,
}

/// From a place to the one before on its chain.
#[derive(Clone, Copy, Default)]
struct Link {
    /// How far back, 0: no farther within the window.
    back: u16,
    /// Counts the places of one chain, so that the difference says how many are between.
    order: u16,
}

impl<'a> Chains<'a> {
    fn over(data: &'a [u8]) -> Self {
        // Up to CHAIN bytes all places are looked at, so that any hash finds the same; beyond,
        // collisions count, and it must be Go's.
        let bits = if data.len() <= CHAIN {
            usize::BITS - data.len().leading_zeros()
        } else {
            17
        };
        Self {
            data,
            heads: vec![0; 1 << bits],
            links: vec![Link::default(); data.len().next_power_of_two().min(WINDOW)],
            replaced: Link::default(),
            shift: u32::BITS - bits,
            base: 0,
        }
    }

    /// Go's buffer holds two windows, and its upper half moves down when a search needs bytes
    /// beyond it: what was in the lower half is forgotten then, a few hundred bytes less than a
    /// window back.
    #[inline]
    fn move_to(&mut self, index: usize) {
        let end = self.base + 2 * WINDOW;
        if index + MIN_MATCH + MAX_MATCH > end && self.data.len() > end {
            self.base += WINDOW;
        }
    }

    /// The bytes of a block, where it may be stored as it is: not too many, and its start not
    /// forgotten.
    fn stored_form(&self, start: usize, end: usize) -> Option<&'a [u8]> {
        (start >= self.base && end - start <= usize::from(u16::MAX)).then(|| &self.data[start..end])
    }

    #[inline]
    fn hash(&self, index: usize) -> Option<usize> {
        let four = self.data.get(index..)?.first_chunk::<4>()?;
        let hash = u32::from_be_bytes(*four).wrapping_mul(0x1e35_a7bd);
        Some((u64::from(hash) >> self.shift) as usize)
    }

    #[inline]
    fn link(&self, place: usize) -> Link {
        self.links[place & (self.links.len() - 1)]
    }

    /// Enters a place into its chain.
    #[inline]
    fn insert(&mut self, index: usize) {
        let Some(hash) = self.hash(index) else {
            return;
        };
        let place = index + 1;
        let head = std::mem::replace(&mut self.heads[hash], place as u32) as usize;
        let link = if head > 0 && place - head <= WINDOW {
            Link {
                back: (place - head) as u16,
                order: self.link(head - 1).order.wrapping_add(1),
            }
        } else {
            Link::default()
        };
        let mask = self.links.len() - 1;
        self.replaced = std::mem::replace(&mut self.links[index & mask], link);
    }

    /// The longest match longer than `than`, the nearest of these: length and distance, for the
    /// place that was entered last. One that is not longer would not be used.
    #[inline]
    fn longest(&self, index: usize, than: usize) -> Option<(usize, usize)> {
        let mut search = Search::over(self.data, index, than)?;
        let oldest = index.saturating_sub(WINDOW).max(self.base);
        let order = self.link(index).order;
        // A longer match has its first four bytes in common with here, and any other four up to the
        // one beyond `than`, too: it is on the chains of all of them. That of the last four is
        // often shorter, or empty, but it holds no places beyond here.
        let ahead = than + 1 - MIN_MATCH;
        let mut end = index;
        for _ in 0..CHAIN {
            end = match self.earlier(end, oldest) {
                Some(end) => end,
                None => return search.found,
            };
            if ahead > 0 && end + ahead <= index {
                return self.longest_ahead(search, oldest, order, ahead, index);
            }
            if search.ends_with(end, || true) {
                break;
            }
        }
        search.found
    }

    /// Goes on with the places before `place` on the chain of the four bytes that are `ahead`.
    #[inline]
    fn longest_ahead(
        &self,
        mut search: Search<'a>,
        oldest: usize,
        order: u16,
        ahead: usize,
        mut place: usize,
    ) -> Option<(usize, usize)> {
        let index = search.index;
        let mut ahead = ahead;
        let mut next = self.head(index + ahead);
        let mut steps = 0;
        while let Some(end) = next.filter(|end| *end >= oldest + ahead) {
            if end - ahead < place {
                place = end - ahead;
                let among_last = || {
                    let there = if place + WINDOW == index {
                        self.replaced
                    } else {
                        self.link(place)
                    };
                    usize::from(order.wrapping_sub(there.order)) <= CHAIN
                };
                if search.ends_with(place, among_last) {
                    break;
                }
            }
            steps += 1;
            if steps == PATIENCE {
                // The chain whose newest place is farthest promises to be the shortest.
                let most = (search.best + 1 - MIN_MATCH).min(index - place);
                ahead = (1..=most)
                    .max_by_key(|ahead| {
                        self.head(index + ahead)
                            .map_or(usize::MAX, |head| index + ahead - head)
                    })
                    .unwrap_or(ahead);
                next = self.head(index + ahead);
                continue;
            }
            next = self.earlier(end, oldest);
        }
        search.found
    }

    /// The newest place on the chain of the four bytes at `index`.
    #[inline]
    fn head(&self, index: usize) -> Option<usize> {
        Some(self.heads[self.hash(index)?].checked_sub(1)? as usize)
    }

    /// The place before on the same chain.
    #[inline]
    fn earlier(&self, place: usize, oldest: usize) -> Option<usize> {
        let back = usize::from(self.link(place).back);
        (back > 0 && place >= back + oldest).then(|| place - back)
    }
}

/// The search for one place.
struct Search<'a> {
    data: &'a [u8],
    index: usize,
    limit: usize,
    best: usize,
    /// The four bytes that a longer match ends with, or goes on from.
    tail: u32,
    found: Option<(usize, usize)>,
}

impl<'a> Search<'a> {
    #[inline]
    fn over(data: &'a [u8], index: usize, than: usize) -> Option<Self> {
        let limit = MAX_MATCH.min(data.len() - index);
        (than < limit).then(|| Self {
            data,
            index,
            limit,
            best: than,
            tail: four(data, index + than + 1 - MIN_MATCH),
            found: None,
        })
    }

    /// Looks at a place, which counts only if it is among the last of its chain; whether there can
    /// be none better.
    #[inline]
    fn ends_with(&mut self, place: usize, among_last: impl FnOnce() -> bool) -> bool {
        if four(self.data, place + self.best + 1 - MIN_MATCH) != self.tail {
            return false;
        }
        let length = common(&self.data[self.index..], &self.data[place..], self.limit);
        let away = self.index - place;
        if length > self.best && (length > MIN_MATCH || away <= NEAR) {
            if !among_last() {
                return true;
            }
            self.best = length;
            self.found = Some((length, away));
            if length >= self.limit {
                return true;
            }
            self.tail = four(self.data, self.index + length + 1 - MIN_MATCH);
        }
        false
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of several kinds whose bytes follow from `seed` alone.
    fn sample(seed: u32, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut out = Vec::with_capacity(length + 300);
        while out.len() < length {
            match (seed % 6, next(8)) {
                // Noise, and noise of few letters.
                (0, _) => out.push(next(256) as u8),
                (1, _) => out.push(b"abcd"[next(2 + seed % 3) as usize]),
                // Repeats from anywhere in the window and beyond.
                (_, 0..3) if out.len() > 8 => {
                    let back = 1 + next(out.len().min(40_000) as u32) as usize;
                    let count = 3 + next(if seed % 6 == 2 { 8 } else { 300 }) as usize;
                    for _ in 0..count {
                        out.push(out[out.len() - back]);
                    }
                }
                (3, 3) => out.extend(std::iter::repeat_n(b' ', next(400) as usize)),
                (4, _) => out
                    .extend(["kubelet", "node", "--", "\n", "=", "true"][next(6) as usize].bytes()),
                _ => out.push(b"etaoinshrdlu \n"[next(14) as usize]),
            }
        }
        out.truncate(length);
        out
    }

    #[test]
    fn a_decoder_gives_the_bytes_back() {
        for seed in 0..18 {
            for length in [0, 1, 3, 4, 5, 300, 4096, 4097, 40_000, 70_000] {
                let data = sample(seed, length);
                let zipped = gzip(&data);
                assert!(zipped.len() >= SHORTEST || length == 0);
                let mut back = Vec::new();
                std::io::Read::read_to_end(
                    &mut flate2::read::GzDecoder::new(&zipped[..]),
                    &mut back,
                )
                .unwrap_or_else(|error| panic!("seed {seed}, {length} bytes: {error}"));
                assert_eq!(back, data, "seed {seed}, {length} bytes");
            }
        }
    }

    #[test]
    fn large_streams_are_as_recorded_from_go() {
        use sha2::Digest;
        // (seed, length), the bytes of the stream, and how their SHA-256 begins: Go 1.26.8's, by
        // the test below.
        for (seed, length, bytes, digest) in RECORDED {
            let zipped = gzip(&sample(seed, length));
            let got: String = sha2::Sha256::digest(&zipped)[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(
                (zipped.len(), got.as_str()),
                (bytes, digest),
                "seed {seed}, {length} bytes"
            );
        }
    }

    const RECORDED: [(u32, usize, usize, &str); 7] = [
        (0, 72_446, 33435, "d624f553e821a4c3"),
        (1, 200_000, 46857, "f002ba58f5b4fd77"),
        (2, 150_000, 62079, "c79948e9a5287194"),
        (3, 300_000, 5818, "c65a6a367f15e5c9"),
        (4, 100_000, 3709, "3818e683cee61fcf"),
        (5, 99_999, 3176, "357a2aa84d4eb5e1"),
        (78, 72_446, 33440, "50487fc84f6038f2"),
    ];

    /// `FLATCAR_REFERENCE=<binary of tests/differential>`: compares with Go's encoder.
    #[test]
    fn the_bytes_are_those_of_go() {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let Some(reference) = std::env::var_os("FLATCAR_REFERENCE") else {
            return;
        };
        let rounds: u32 = std::env::var("FLATCAR_ROUNDS")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(300);
        let dir = tempfile::tempdir().expect("a directory");
        let samples: Vec<Vec<u8>> = (0..rounds)
            .map(|seed| {
                let most = [300, 5_000, 50_000, 200_000][(seed / 7) as usize % 4];
                sample(
                    seed,
                    (seed.wrapping_mul(2_654_435_761) as usize >> 4) % most,
                )
            })
            .collect();
        let questions: String = samples
            .iter()
            .map(|data| format!("\"{}\"\n", STANDARD.encode(data)))
            .collect();
        std::fs::write(dir.path().join("in"), questions).expect("a file");
        let answers = std::process::Command::new(reference)
            .arg("gzip")
            .stdin(std::fs::File::open(dir.path().join("in")).expect("that file"))
            .output()
            .expect("the reference runs");
        assert!(answers.status.success());
        let answers: Vec<String> = serde_json::Deserializer::from_slice(&answers.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .expect("JSON strings");
        assert_eq!(answers.len(), samples.len());
        let different: Vec<_> = (0..)
            .zip(&samples)
            .zip(&answers)
            .filter(|((_, data), answer)| STANDARD.encode(gzip(data)) != **answer)
            .map(|((seed, data), _)| (seed, data.len()))
            .collect::<Vec<(u32, usize)>>();
        assert!(different.is_empty(), "(seed, bytes): {different:?}");
    }
}
