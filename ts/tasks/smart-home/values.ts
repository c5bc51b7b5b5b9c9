/** What a slot of a sentence can hold: how people say it, and what the call gets. */
export interface SlotValue {
  readonly say: string;
  readonly value: string | number | boolean;
}

/** The values of a slot. Of an open one, some values are kept for the test: training never shows them. */
export interface Slot {
  readonly open: boolean;
  readonly values: readonly SlotValue[];
}

const asSaid = (words: readonly string[]): readonly SlotValue[] => words.map((word) => ({ say: word, value: word }));

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

const numbers = (from: number, to: number): readonly SlotValue[] =>
  range(from, to).map((value) => ({ say: String(value), value }));

const twoDigits = (value: number): string => String(value).padStart(2, "0");

const hourWords = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"] as const;

/** 7 am, and 13:45 as a clock shows it. */
const writtenTimes = [
  ...hourWords.map((_, index) => ({ say: `${index + 1} am`, value: `${twoDigits(index + 1)}:00` })),
  ...asSaid(range(12, 23).flatMap((hour) => ["00", "15", "30", "45"].map((minutes) => `${hour}:${minutes}`))),
];

/** Half past six in the morning. */
const spokenTimes = hourWords.map((word, index) => ({
  say: `half past ${word} in the morning`,
  value: `${twoDigits(index + 1)}:30`,
}));

const changeWords = ["one degree", "two degrees", "three degrees", "four degrees", "five degrees"] as const;

const temperatureChanges = changeWords.flatMap((words, index) => [
  { say: `${words} warmer`, value: index + 1 },
  { say: `${words} cooler`, value: -(index + 1) },
]);

const rooms = [
  "kitchen", "living room", "bedroom", "bathroom", "hallway", "office", "garage", "dining room", "basement", "attic",
  "nursery", "guest room", "laundry room", "playroom", "balcony", "library", "studio", "guest bathroom", "music room",
  "sunroom", "wine cellar", "workshop", "gym", "pantry", "study", "home theater", "kids' room", "entrance", "lounge",
  "mud room",
] as const; // prettier-ignore

const labels = [
  "pasta", "rice", "eggs", "tea", "laundry", "pizza", "bread", "homework", "workout", "potatoes", "soup", "nap",
  "meditation", "cookies", "dishes", "piano practice", "chicken", "lasagna", "coffee", "yoga", "study break", "roast",
  "face mask", "cake",
] as const; // prettier-ignore

const genres = [
  "jazz", "rock", "classical", "blues", "country", "techno", "soul", "reggae", "folk", "ambient", "hip hop", "disco",
  "salsa", "opera", "indie", "funk", "lo-fi", "metal", "bossa nova", "gospel",
] as const; // prettier-ignore

const scenes = [
  "movie night", "good morning", "dinner party", "bedtime", "reading time", "away", "focus", "game night", "sunset",
  "welcome home", "deep sleep", "date night", "spa day", "picnic", "rainy day", "brunch", "workout mode",
  "story time", "quiet hours", "party mode",
] as const; // prettier-ignore

const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;

/** Every slot by the name that phrasings use in braces. */
export const slots = {
  room: { open: true, values: asSaid(rooms) },
  percent: { open: true, values: numbers(2, 98) },
  celsius: { open: true, values: numbers(14, 29) },
  minutes: { open: true, values: numbers(2, 99) },
  label: { open: true, values: asSaid(labels) },
  genre: { open: true, values: asSaid(genres) },
  scene: { open: true, values: asSaid(scenes) },
  color: { open: false, values: asSaid(["red", "green", "blue", "purple", "orange", "pink", "yellow", "white"]) },
  time: { open: false, values: [...writtenTimes, ...spokenTimes] },
  day: { open: false, values: days.map((day) => ({ say: day, value: day.toLowerCase() })) },
  change: { open: false, values: temperatureChanges },
  door: { open: false, values: asSaid(["front", "back", "garage", "patio", "side", "cellar", "balcony", "shed"]) },
  on: {
    open: false,
    values: [
      { say: "on", value: true },
      { say: "off", value: false },
    ],
  },
  locked: {
    open: false,
    values: [
      { say: "lock", value: true },
      { say: "unlock", value: false },
    ],
  },
  open: {
    open: false,
    values: [
      { say: "open", value: 100 },
      { say: "close", value: 0 },
    ],
  },
} as const satisfies Readonly<Record<string, Slot>>;

export type SlotName = keyof typeof slots;
