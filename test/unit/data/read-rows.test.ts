import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readRows } from "../../../ts/data/read-rows.js";
import { writeRows } from "../../../ts/data/write-rows.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const fileOf = async (name: string, text: string): Promise<string> => {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, text);
  return path;
};

const plain = [
  { prompt: "One?", answer: "1" },
  { prompt: "Two, or 2?", answer: 'a "two"\nline' },
];

describe("formats", () => {
  test("JSONL, with a byte order mark, CRLF and blank lines", async () => {
    const lines = plain.map((row) => JSON.stringify({ ...row, id: 7 }));
    expect(await readRows(await fileOf("a.jsonl", `\uFEFF${lines.join("\r\n\r\n")}\r\n\r\n`))).toEqual(plain);
  });

  test("JSONL under another extension is told by its content", async () => {
    const text = plain.map((row) => JSON.stringify(row)).join("\n");
    expect(await readRows(await fileOf("a.json", text))).toEqual(plain);
    expect(await readRows(await fileOf("a.txt", text))).toEqual(plain);
  });

  test("CSV with quotes, commas, line breaks, other columns and CRLF", async () => {
    const text = '\uFEFFid,prompt,answer\r\n1,One?,1\r\n\r\n2,"Two, or 2?","a ""two""\nline"\r\n';
    expect(await readRows(await fileOf("a.csv", text))).toEqual(plain);
  });

  test("LLM-Adapters JSON: the prompt is the Alpaca template, the answer is the output", async () => {
    const items = [
      { instruction: "Choose.", input: "", output: "the correct answer is answer1", answer: "answer1" },
      { instruction: "Add.", input: "1 2", output: "3" },
    ];
    const [first, second] = await readRows(await fileOf("a.json", JSON.stringify(items, null, 4)));
    expect(first).toEqual({
      prompt:
        "Below is an instruction that describes a task. Write a response that appropriately completes the request." +
        "\n\n### Instruction:\nChoose.\n\n### Response:\n",
      answer: "the correct answer is answer1",
    });
    expect(second).toMatchObject({ answer: "3" });
    expect(JSON.stringify(second)).toContain(String.raw`### Input:\n1 2\n\n### Response:\n`);
  });

  test("chat JSONL", async () => {
    const row = {
      messages: [
        { role: "system", content: "Be short." },
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Hello" },
      ],
    };
    expect(await readRows(await fileOf("a.jsonl", JSON.stringify(row)))).toEqual([row]);
  });

  test("what writeRows wrote is read back", async () => {
    const path = join(await temporaryFolder(), "out", "rows.jsonl");
    await writeRows(path, plain);
    expect(await readRows(path)).toEqual(plain);
  });
});

describe("malformed rows", () => {
  test("all are checked, the first five listed, file, line and field named", async () => {
    const bad = Array.from({ length: 7 }, (_, index) => JSON.stringify({ prompt: `p${index}`, answer: index }));
    const path = await fileOf("a.jsonl", [JSON.stringify(plain[0]), "", ...bad].join("\n"));
    const error = await rejectionOf(readRows(path), "data/bad-row");
    expect(error).toMatchObject({ file: path, line: 3, path: "answer", found: "0", allowed: "answer must be text" });
    expect(error.problems).toHaveLength(5);
    expect(error.problems[4]).toBe("line 7: answer: found 4, allowed: answer must be text");
    expect(error.message).toContain("7 malformed rows");
    expect(error.message).toContain("and 2 more");
  });

  test.each([
    ["an empty answer", { prompt: "p", answer: " " }, "answer", "answer must not be empty"],
    ["no answer", { prompt: "p" }, "answer", "answer must be text"],
    ["no prompt", { answer: "a" }, "prompt", "prompt must be text"],
    ["a null answer", { prompt: "p", answer: null }, "answer", "answer must be text"],
    ["an empty output", { instruction: "i", input: "", output: "" }, "output", "output must not be empty"],
    ["a list", [1], "", "an object"],
    ["other fields", { question: "q" }, "", '{"prompt", "answer"}'],
    [
      "a chat that ends with the user",
      {
        messages: [
          { role: "assistant", content: "a" },
          { role: "user", content: "u" },
        ],
      },
      "messages",
      "assistant",
    ],
    [
      "an unknown role",
      {
        messages: [
          { role: "robot", content: "a" },
          { role: "assistant", content: "u" },
        ],
      },
      "messages[0].role",
      "system",
    ],
    ["a lone message", { messages: [{ role: "assistant", content: "u" }] }, "messages", "2"],
  ])("%s", async (_, row, field, allowed) => {
    const path = await fileOf("a.jsonl", `${JSON.stringify(plain[0])}\n${JSON.stringify(row)}\n`);
    const error = await rejectionOf(readRows(path), "data/bad-row");
    expect(error.line).toBe(2);
    expect(error.path ?? "").toBe(field);
    expect(error.allowed).toContain(allowed);
  });

  test("a JSON line that is cut off", async () => {
    const path = await fileOf("a.jsonl", '{"prompt": "p", "answer": "a"}\n{"prompt": "p", "answ');
    const error = await rejectionOf(readRows(path), "data/bad-row");
    expect(error.line).toBe(2);
    expect(error.found).toContain("answ");
  });

  test("an item of a JSON array: its index and its line", async () => {
    const items = [
      { instruction: 'a ] } \\" [', output: "b" },
      { instruction: "c", output: 3 },
    ];
    const path = await fileOf("a.json", JSON.stringify(items, null, 2));
    const error = await rejectionOf(readRows(path), "data/bad-row");
    expect(error).toMatchObject({ line: 6, path: "[1].output", found: "3" });
    expect(error.problems).toEqual(["line 6, item 1: output: found 3, allowed: output must be text"]);
  });

  test("a JSON array with a broken item, and one that never ends", async () => {
    const broken = await fileOf("a.json", '[\n {"prompt": "p", "answer": "a"},\n {"prompt": p}\n]');
    expect(await rejectionOf(readRows(broken), "data/bad-row")).toMatchObject({ line: 3, path: "[1]" });
    const cut = await fileOf("b.json", '[\n {"prompt": "p", "answer": "a"},\n');
    expect((await rejectionOf(readRows(cut), "data/bad-row")).allowed).toBe("a whole JSON array");
    const cutInside = await fileOf("c.json", '[\n {"prompt": "p", "answer": "a"},\n {"prompt": "q"');
    expect(await rejectionOf(readRows(cutInside), "data/bad-row")).toMatchObject({ line: 3, path: "[1]" });
  });

  test("CSV: the line where a row begins, after rows of several lines", async () => {
    const path = await fileOf("a.csv", 'prompt,answer\n"a\nb\nc",d\ne,\nf,g,h\n');
    const error = await rejectionOf(readRows(path), "data/bad-row");
    expect(error).toMatchObject({ line: 5, path: "answer", found: '""' });
    expect(error.problems[1]).toBe("line 6: found 3 fields, allowed: 2 fields, as many as the header has");
  });

  test("CSV without the right header, and with an open quote", async () => {
    const header = await fileOf("a.csv", "question,answer\na,b\n");
    expect(await rejectionOf(readRows(header), "data/bad-row")).toMatchObject({ line: 1 });
    const quote = await fileOf("b.csv", 'prompt,answer\na,"b\n');
    await rejectionOf(readRows(quote), "data/bad-row");
  });
});

describe("files", () => {
  test("a missing file is named with its absolute path", async () => {
    const error = await rejectionOf(readRows("no/such/rows.jsonl"), "input/missing-file");
    expect(error.file).toBe(join(process.cwd(), "no/such/rows.jsonl"));
  });

  test.each([
    ["a.jsonl", ""],
    ["a.jsonl", "\n\n"],
    ["a.json", "[]"],
    ["a.csv", "prompt,answer\n"],
    ["a.csv", ""],
  ])("%s with %j holds no rows", async (name, text) => {
    await rejectionOf(readRows(await fileOf(name, text)), "data/empty");
  });
});
