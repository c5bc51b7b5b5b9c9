import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { errorCodes } from "../../ts/errors.js";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && !/(^|\/)(node_modules|\.\w+)\//.test(name))
    .map((name) => `docs/${name}`),
].map((name) => ({ name, text: readFileSync(join(root, name), "utf8").replaceAll(/```[^]*?```/g, "") }));

/** The anchors of a page: its own, and those that GitHub makes from its headings. */
const anchorsOf = (file: string): readonly string[] =>
  [...readFileSync(file, "utf8").matchAll(/^#+ (.+)$|^<a id="(.+)"><\/a>$/gm)].map(
    ([, heading = "", id]) =>
      id ??
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .trim()
        .replaceAll(" ", "-"),
  );

test("every link inside the documentation leads somewhere", () => {
  const broken: string[] = [];
  for (const { name, text } of pages) {
    for (const [, target = ""] of text.matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? join(root, name) : resolve(root, dirname(name), path);
      const isThere = existsSync(file) && !relative(root, file).startsWith("..");
      if (!isThere || (anchor !== undefined && !anchorsOf(file).includes(anchor))) broken.push(`${name}: ${target}`);
    }
  }
  expect(pages.length).toBeGreaterThan(20);
  expect(broken).toEqual([]);
});

test("the documentation names every example, and error codes that there are", () => {
  const guide = pages.flatMap(({ name, text }) => (name.startsWith("docs/") ? [text] : [])).join("\n");
  const examples = [
    ...readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts")),
    ...readdirSync(join(root, "examples", "python")).filter((name) => name.endsWith(".py")),
    ...readdirSync(join(root, "examples", "notebooks")),
  ].filter((name) => name !== "shop_pipeline.py");
  expect(examples.filter((name) => !guide.includes(name))).toEqual([]);
  const codes = [
    ...guide.matchAll(/`((?:environment|model|data|input|adapter|run|bridge|memory|training)\/[a-z-]+)`/g),
  ];
  expect(codes.length).toBeGreaterThan(8);
  for (const [, code] of codes) expect(errorCodes).toContain(code);
});

test("each script of examples/ is under 60 lines", () => {
  for (const name of readdirSync(join(root, "examples")).filter((each) => each.endsWith(".ts")))
    expect(readFileSync(join(root, "examples", name), "utf8").split("\n").length, name).toBeLessThan(60);
});
