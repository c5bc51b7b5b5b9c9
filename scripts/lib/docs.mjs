import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { checkLinks } from "./docs-links.mjs";
import { hashOf, listFiles, progress, readText, root, stateFolder, writeAtomically } from "./paths.mjs";
import { run, runTool } from "./run.mjs";

const docs = join(root, "docs");
const site = join(docs, ".site");
const venvPython = join(docs, ".venv", "bin", "python");

const ensure = async (stamp, key, isThere, commands) => {
  const file = join(stateFolder, stamp);
  if (isThere && readText(file) === key) return;
  for (const [label, command, args, cwd] of commands) {
    progress(`milora: ${label}`);
    const code = await run(command, args, { quiet: true, label, cwd });
    if (code !== 0) throw Object.assign(new Error(`${label} failed; its messages are above`), { exitCode: code });
  }
  writeAtomically(file, key);
};

/** The packages that make the site; nothing else needs them. */
const ensureDocsModules = () =>
  ensure(
    "docs-modules",
    hashOf([readText(join(docs, "package-lock.json"))]),
    existsSync(join(docs, "node_modules", "vitepress")),
    [
      [
        "installing the packages of the documentation (once)",
        "npm",
        ["ci", "--ignore-scripts", "--loglevel=error"],
        docs,
      ],
    ],
  );

const ensureDocsPython = () =>
  ensure("docs-python", hashOf([readText(join(docs, "requirements.txt"))]), existsSync(venvPython), [
    [
      "making the Python environment of the documentation (once)",
      process.env.MILORA_PYTHON || "python3",
      ["-m", "venv", join(docs, ".venv")],
    ],
    ["installing its packages", venvPython, ["-m", "pip", "install", "--quiet", "-r", join(docs, "requirements.txt")]],
  ]);

const write = (name, text) => {
  mkdirSync(dirname(join(site, name)), { recursive: true });
  writeFileSync(join(site, name), text);
};

const languages = { ts: "ts", py: "python", json: "json", jsonl: "json" };

/** A notebook's cells, without outputs. */
const notebookPage = (text) =>
  JSON.parse(text)
    .cells.map(({ cell_type: kind, source }) => {
      const cell = [source].flat().join("");
      return kind === "code" ? `\`\`\`ts\n${cell}\n\`\`\`` : cell.replaceAll(/\]\(([\w-]+\.ipynb)\)/gu, "]($1.md)");
    })
    .join("\n\n");

/** Examples are pages of their own, so that links to them lead somewhere and the search finds them. */
const stageExamples = () => {
  const folder = join(root, "examples");
  const files = Object.keys(languages).flatMap((kind) => listFiles(folder, `.${kind}`));
  for (const name of files) {
    const text = readFileSync(join(folder, name), "utf8");
    write(
      `examples/${name}.md`,
      `# ${basename(name)}\n\n\`examples/${name}\`\n\n\`\`\`\`${languages[name.split(".").at(-1)]}\n${text}\`\`\`\`\n`,
    );
  }
  const notebooks = listFiles(folder, ".ipynb");
  for (const name of notebooks)
    write(
      `examples/${name}.md`,
      `${notebookPage(readFileSync(join(folder, name), "utf8"))}\n\n*The notebook is \`examples/${name}\`.*\n`,
    );
  const list = [...files, ...notebooks]
    .toSorted((left, right) => left.localeCompare(right))
    .map((name) => `- [${name}](${name}.md)`);
  write(
    "examples/index.md",
    `# Examples\n\nScripts, specs, data and notebooks of the folder \`examples/\`.\n\n${list.join("\n")}\n`,
  );
};

/** Links of the sources as those of the site: a folder's README is its index, an example is a page. */
const siteLinks = (text) =>
  text
    .replaceAll(/\]\((?:\.\.\/)*public\//gu, "](/")
    .replaceAll(/\]\((?:\.\.\/)+README\.md\)/gu, "](/readme.md)")
    .replaceAll(/\]\((?:\.\.\/)+examples\/?\)/gu, "](/examples/index.md)")
    .replaceAll(/\]\((?:\.\.\/)+examples\/([\w./-]+)\)/gu, "](/examples/$1.md)")
    .replaceAll(/(\]\([\w./-]*)README\.md/gu, "$1index.md");

const stagePages = () => {
  for (const name of listFiles(docs, ".md").filter((each) => !/(^|\/)(node_modules|\.\w+)\//u.test(each))) {
    write(name.replace(/README\.md$/u, "index.md"), siteLinks(readFileSync(join(docs, name), "utf8")));
  }
  for (const name of ["README", "CONTRIBUTING", "CHANGELOG"]) {
    const text = readFileSync(join(root, `${name}.md`), "utf8")
      .replaceAll("](docs/", "](/")
      .replaceAll(/\]\((examples\/)/gu, "](../$1");
    write(`${name.toLowerCase()}.md`, siteLinks(text).replaceAll("](CONTRIBUTING.md)", "](/contributing.md)"));
  }
  if (existsSync(join(docs, "public"))) cpSync(join(docs, "public"), join(site, "public"), { recursive: true });
};

/** The Python packages' public modules, in the order of the page. */
const pythonModules = ["public", "planning", "errors", "tuners.milora.config", "hf_trainer", "lm_eval", "run"];

/** Names of other packages have no anchor on the page; roles of Sphinx are code here. */
const tidyPython = (text) => {
  const anchors = new Set([...text.matchAll(/^#+ `([\w.]+)`/gmu)].map(([, name]) => name));
  return text
    .replaceAll(/\[([^\]]+)\]\(#([\w.]+)\)/gu, (whole, label, anchor) => (anchors.has(anchor) ? whole : label))
    .replaceAll(/^(#+ `([\w.]+)`)$/gmu, "$1 {#$2}")
    .replaceAll(/:\w+:`/gu, "`");
};

const pythonReference = async () => {
  await ensureDocsPython();
  const parts = [];
  for (const name of pythonModules) {
    const file = join(site, `${name}.part`);
    const code = await run(join(docs, ".venv", "bin", "griffe2md"), [`milora.${name}`, "-o", file], {
      env: { PYTHONPATH: "py" },
      quiet: true,
    });
    if (code !== 0) return code;
    parts.push(readFileSync(file, "utf8").trim());
    rmSync(file);
  }
  const head =
    "# Python reference\n\n`import milora` has `attach`, `load`, `plan`, `route`, `save`, `MiloraConfig` and `MiloraError`; the other modules are imported by name. [In use](../python.md).\n\n";
  write("reference/python.md", tidyPython(`${head}${parts.join("\n\n")}\n`));
  return 0;
};

/** The reference from TSDoc; fails where a public symbol has none. */
const typescriptReference = (options = []) => {
  const program = join(docs, "node_modules/typedoc/bin/typedoc");
  return run(process.execPath, [program, "--options", join(docs, "typedoc.json"), ...options], { quiet: true });
};

/** Whether every public symbol of the TypeScript side is documented; `npm run docs` looks at all else too. */
export const checkReference = async () => {
  await ensureDocsModules();
  return typescriptReference(["--emit", "none"]);
};

const steps = [
  () => typescriptReference(),
  () => runTool("tsx/dist/cli.mjs", ["scripts/docs-reference.ts", join(site, "reference")]),
  pythonReference,
  // In docs/ itself: from elsewhere VitePress links its vue into the checkout's node_modules, for good if it is killed.
  () => run(process.execPath, ["node_modules/vitepress/bin/vitepress.js", "build"], { quiet: true, cwd: docs }),
  () => checkLinks(join(docs, ".dist")),
];

/** Makes the site in docs/.dist: pages, reference, search; every link in it leads somewhere. */
export const buildDocs = async () => {
  await ensureDocsModules();
  rmSync(site, { recursive: true, force: true });
  stagePages();
  stageExamples();
  for (const step of steps) {
    const code = await step();
    if (code !== 0) return code;
  }
  progress(
    `milora: the documentation is in ${join(docs, ".dist")}; any web server shows it, such as npx vitepress preview in docs/`,
  );
  return 0;
};
