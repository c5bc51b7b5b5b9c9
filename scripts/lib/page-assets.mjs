import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { listFiles, root } from "./paths.mjs";

/** What the report's page is made of beside code that tsc compiles. */
const folder = join("report", "html", "assets");
const source = join(root, "ts", folder);
const isThere = () => existsSync(source);

/** Our own files of the page, relative to the package's root. */
export const pageAssets = () =>
  isThere()
    ? [".js", ".css"].flatMap((extension) => listFiles(source, extension).map((name) => join("ts", folder, name)))
    : [];

/** The charting library is copied, not depended on: users need three files of it, its packages are 27 MB. */
const libraryFiles = [
  ["vega", "LICENSE"],
  ...["vega", "vega-lite", "vega-embed"].map((name) => [name, join("build", `${name}.min.js`)]),
];

/** Puts the page's files into a compiled dist. */
export const copyPageAssets = (dist) => {
  if (!isThere()) return;
  cpSync(source, join(dist, folder), { recursive: true });
  for (const [name, file] of libraryFiles)
    cpSync(join(root, "node_modules", name, file), join(dist, folder, name, file));
};
