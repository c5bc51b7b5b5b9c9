import { StringDecoder } from "node:string_decoder";

/** Cuts a stream of bytes into lines; `end` gives the last, unfinished one. */
export const lineSplitter = (onLine: (line: string) => void): { push(chunk: Buffer): void; end(): void } => {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  return {
    push(chunk) {
      const lines = (rest + decoder.write(chunk)).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    },
    end() {
      if (rest !== "") onLine(rest);
      rest = "";
    },
  };
};

/** Keeps the last lines of a log, at most `maxLines` of at most 2,000 characters. */
export class Tail {
  readonly #lines: string[] = [];

  readonly #maxLines: number;

  constructor(maxLines: number) {
    this.#maxLines = maxLines;
  }

  add(line: string): void {
    this.#lines.push(line.slice(0, 2000));
    if (this.#lines.length > this.#maxLines) this.#lines.shift();
  }

  toString(): string {
    return this.#lines.join("\n").trim();
  }
}
