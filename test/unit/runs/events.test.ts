import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openEventLog } from "../../../ts/runs/events.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const messages = (file: string): readonly unknown[] =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).message);

describe("the event log", () => {
  it("appends a line an event and tells how many bytes are safe", async () => {
    const file = join(await temporaryFolder(), "events.jsonl");
    const log = openEventLog(file);
    log.append({ type: "warning", message: "one" });
    expect(log.sync()).toBe(readFileSync(file).length);
    log.append({ type: "warning", message: "two" });
    log.close();
    log.close();
    expect(messages(file)).toEqual(["one", "two"]);
  });

  it("drops what a killed run wrote after its checkpoint", async () => {
    const file = join(await temporaryFolder(), "events.jsonl");
    const first = openEventLog(file);
    first.append({ type: "warning", message: "kept" });
    const bytes = first.sync();
    first.append({ type: "warning", message: "made again" });
    first.close();
    const second = openEventLog(file, bytes);
    second.append({ type: "warning", message: "after" });
    second.close();
    expect(messages(file)).toEqual(["kept", "after"]);
  });
});
