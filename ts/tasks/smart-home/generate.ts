import { hashText, mixSeed, randomItem, seededRandom } from "../../util/random.js";
import { type CallKind, callKinds, closers, joiners, openers, pairShare } from "./kinds.js";
import { slots, type SlotName, type SlotValue } from "./values.js";

export type SmartHomeCall = Readonly<Record<string, string | number | boolean>>;

/** A request in English and the calls that carry it out, in the order of the request. */
export interface SmartHomeExample {
  readonly request: string;
  readonly calls: readonly SmartHomeCall[];
}

export type SmartHomeSplit = "train" | "test";

interface Part {
  readonly kind: CallKind;
  readonly text: string;
  readonly call: SmartHomeCall;
  readonly unseen: boolean;
}

/** One in so many values of an open slot, combinations, and ordered pairs of kinds is kept for the test. */
const testOneIn = { value: 5, combination: 4, pair: 4 } as const;
const maximumTries = 2000;

/** Which side something is on never depends on a seed: any training set is disjoint from any test set. */
const isKept = (oneIn: number, ...key: readonly (string | number | boolean)[]): boolean =>
  hashText(JSON.stringify(key)) % oneIn === 0;

/** True for a value that only the test shows, in whatever slot it stands. */
export const isTestValue = (slot: SlotName, { value }: SlotValue): boolean =>
  slots[slot].open && isKept(testOneIn.value, "value", value);

/** True for two kinds that only the test asks for together, in this order. */
export const isTestPair = (first: CallKind, second: CallKind): boolean =>
  isKept(testOneIn.pair, "pair", first.name, second.name);

const makePart = (kind: CallKind, random: () => number): Part => {
  const phrasing = randomItem(random, kind.phrasings);
  const chosen = Object.entries(kind.fields).map(([field, slot]) => {
    const value: SlotValue = randomItem<SlotValue>(random, slots[slot].values);
    return { field, slot, value };
  });
  let text = phrasing;
  for (const { slot, value } of chosen) text = text.replace(`{${slot}}`, value.say);
  const values = chosen.map(({ value }) => value.value);
  // With one value there is nothing to combine it with but the phrasing.
  const combination = values.length === 1 ? [kind.name, phrasing, ...values] : [kind.name, ...values];
  return {
    kind,
    text,
    call: { call: kind.call, ...Object.fromEntries(chosen.map(({ field, value }) => [field, value.value])) },
    unseen:
      chosen.some(({ slot, value }) => isTestValue(slot, value)) ||
      isKept(testOneIn.combination, "combination", ...combination),
  };
};

const partOf = (kind: CallKind, split: SmartHomeSplit, random: () => number): Part => {
  for (let tries = 0; tries < maximumTries; tries += 1) {
    const part = makePart(kind, random);
    if (part.unseen === (split === "test")) return part;
  }
  throw new RangeError(`The kind ${kind.name} has nothing for the ${split} split`);
};

/** The kinds that may follow `first` in a request of the split. */
const followersOf = (first: CallKind, split: SmartHomeSplit): readonly CallKind[] =>
  callKinds.filter((second) => second !== first && isTestPair(first, second) === (split === "test"));

const kindsOf = (split: SmartHomeSplit, random: () => number): readonly CallKind[] => {
  if (random() >= pairShare[split]) return [randomItem(random, callKinds)];
  const firsts = callKinds.filter((kind) => followersOf(kind, split).length > 0);
  const first = randomItem(random, firsts);
  return [first, randomItem(random, followersOf(first, split))];
};

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const makeExample = (split: SmartHomeSplit, random: () => number): SmartHomeExample => {
  const parts = kindsOf(split, random).map((kind) => partOf(kind, split, random));
  const body = parts.map((part) => part.text).join(randomItem(random, joiners));
  const request = capitalized(`${randomItem(random, openers)}${body}${randomItem(random, closers)}.`);
  return { request, calls: parts.map((part) => part.call) };
};

/**
 * Requests of a split, all different, the same ones for the same seed. Every call of a test request holds a value or
 * a combination of values that training never shows, and half of the test requests join two kinds that training
 * never joins. Errors: RangeError where the grammar runs out of new requests.
 */
export const generateSmartHome = (options: {
  readonly split: SmartHomeSplit;
  readonly rows: number;
  readonly seed: number;
}): readonly SmartHomeExample[] => {
  const { split, rows, seed } = options;
  const random = seededRandom(mixSeed(seed, "smart-home", split));
  const examples = new Map<string, SmartHomeExample>();
  let repeats = 0;
  while (examples.size < rows) {
    const example = makeExample(split, random);
    repeats = examples.has(example.request) ? repeats + 1 : 0;
    if (repeats > maximumTries) throw new RangeError(`The grammar has hardly more than ${examples.size} requests`);
    examples.set(example.request, example);
  }
  return [...examples.values()];
};
