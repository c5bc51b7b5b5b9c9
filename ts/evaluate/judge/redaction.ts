import { escapeRegExp } from "../../util/text.js";

/** Blots out an endpoint's secrets where it repeats them. */
export interface Redaction {
  /** In what a message quotes. */
  readonly inDetail: (text: string) => string;
  /** In what a judge wrote, which is kept as it is but for a real key. */
  readonly inReply: (text: string) => string;
}

/** A shorter key is a placeholder such as `none`; it may well be a word or a number of a reply. */
const shortestKey = 8;
const blot = "[key]";

/** As it is, as an address holds it, and as JSON does. */
const spellings = (secret: string): readonly string[] => [
  secret,
  encodeURIComponent(secret),
  JSON.stringify(secret).slice(1, -1),
];

/** A short secret is blotted out as a whole word only: `1` would leave no number readable. */
const patternOf = (secret: string): string =>
  secret.length < shortestKey ? `(?<![A-Za-z0-9])${escapeRegExp(secret)}(?![A-Za-z0-9])` : escapeRegExp(secret);

/** Secrets are the key and the values of the address's query. */
export const createRedaction = (url: URL, apiKey = ""): Redaction => {
  const secrets = [apiKey, ...url.searchParams.values()].filter((secret) => secret !== "").flatMap(spellings);
  // The longest first: a secret may begin another.
  const patterns = secrets.toSorted((one, other) => other.length - one.length).map(patternOf);
  const anySecret = new RegExp(patterns.join("|"), "g");
  return {
    inDetail: (text) => (patterns.length === 0 ? text : text.replaceAll(anySecret, blot)),
    inReply: (text) => (apiKey.length < shortestKey ? text : text.replaceAll(apiKey, blot)),
  };
};
