/** Seeded random numbers: sfc32 (128 bits of state), seeded by splitmix32 over the seed's two 32-bit halves. */

const twoTo32 = 0x1_0000_0000;

const splitMix32 = (state: number): (() => number) => {
  let value = state | 0;
  return () => {
    value = (value + 0x9e3779b9) | 0;
    let mixed = value ^ (value >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
};

/**
 * A generator of numbers in [0, 1), the same ones for the same seed on every machine.
 * `seed`: a whole number from 0 to 2^53 − 1.
 */
export const seededRandom = (seed: number): (() => number) => {
  const low = splitMix32(seed >>> 0);
  const high = splitMix32(Math.floor(seed / twoTo32) ^ 0x5bd1e995);
  let a = low();
  let b = high();
  let c = low() ^ high();
  let counter = 1;
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / twoTo32;
  };
  // The first outputs still show the seed; sfc32's author discards a dozen.
  for (let round = 0; round < 12; round += 1) next();
  return next;
};

/** A 32-bit hash of text (FNV-1a over UTF-16 units, then an avalanche). */
export const hashText = (text: string): number => {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return splitMix32(hash)() >>> 0;
};

/** A seed of its own for each purpose, such as `mixSeed(seed, "epoch", 3)`. */
export const mixSeed = (seed: number, ...parts: readonly (string | number)[]): number =>
  hashText([seed, ...parts].join("\u0000"));

/** A whole number from 0 to `limit` − 1. */
export const randomInteger = (random: () => number, limit: number): number => Math.floor(random() * limit);

/** One item of a list that is not empty. */
export const randomItem = <Item>(random: () => number, items: readonly Item[]): Item => {
  const item = items.at(randomInteger(random, items.length));
  if (item === undefined) throw new RangeError("randomItem needs at least one item");
  return item;
};

/** A shuffled copy, the same one for the same seed: sorted by a random key each, so linear in memory and stable. */
export const shuffled = <Item>(items: readonly Item[], seed: number): Item[] => {
  const random = seededRandom(seed);
  return items
    .map((item) => ({ item, key: random() }))
    .toSorted((left, right) => left.key - right.key)
    .map(({ item }) => item);
};
