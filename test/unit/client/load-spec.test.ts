import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { applyAssignments, loadRunSpec } from "../../../ts/client/load-spec.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const spec = { model: "m", method: { kind: "milora", rank: 8 }, data: { task: "arc-easy" } };

const written = async (name: string, text: string): Promise<string> => {
  const file = join(await temporaryFolder(), name);
  writeFileSync(file, text);
  return file;
};

describe("loadRunSpec", () => {
  it.each([
    ["spec.json", JSON.stringify(spec)],
    ["spec.yaml", "model: m\nmethod: { kind: milora, rank: 8 }\ndata:\n  task: arc-easy\n"],
    ["spec.ts", `const spec: object = ${JSON.stringify(spec)};\nexport default spec;\n`],
  ])("reads %s", async (name, text) => {
    const loaded = await loadRunSpec(await written(name, text));
    expect(loaded).toMatchObject(spec);
  });

  it("makes assignments before it checks", async () => {
    const file = await written("spec.json", JSON.stringify(spec));
    const loaded = await loadRunSpec(file, ["method.rank=16", "train.epochs=2", "data.template=choice-text"]);
    expect(loaded).toMatchObject({ method: { rank: 16 }, train: { epochs: 2 }, data: { template: "choice-text" } });
    await expect(loadRunSpec(file, ["method.rank=many"])).rejects.toMatchObject({
      code: "input/invalid-spec",
      path: "method.rank",
    });
  });

  it("names a missing file and a file that is no JSON", async () => {
    await expect(loadRunSpec("nowhere.json")).rejects.toMatchObject({ code: "input/missing-file" });
    await expect(loadRunSpec(await written("spec.json", "{"))).rejects.toMatchObject({ code: "input/invalid-spec" });
  });

  it("wants a module's default export", async () => {
    await expect(loadRunSpec(await written("spec.ts", "export const other = 1;\n"))).rejects.toThrow(
      /no default export/,
    );
  });
});

describe("applyAssignments", () => {
  it("leaves its input alone and makes objects on the way", () => {
    const before = { a: 1 };
    expect(applyAssignments(before, ["b.c=[1,2]", "a=text"])).toEqual({ a: "text", b: { c: [1, 2] } });
    expect(before).toEqual({ a: 1 });
  });

  it.each(["x", "=1", "a.=1"])("refuses %s", (assignment) => {
    expect(() => applyAssignments({}, [assignment])).toThrow(/allowed is path=value/);
  });

  it("refuses a path through a number", () => {
    expect(() => applyAssignments({ a: 1 }, ["a.b=1"])).toThrow(/a is not an object/);
  });
});
