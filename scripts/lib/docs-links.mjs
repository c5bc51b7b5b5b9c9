import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { listFiles } from "./paths.mjs";

const decoded = (text) => decodeURIComponent(text.replaceAll("&amp;", "&"));

/** Looks at every link inside a built site, anchors too; 0 where all lead somewhere. Those to elsewhere are not fetched. */
export const checkLinks = (folder) => {
  const pages = new Map(listFiles(folder, ".html").map((name) => [name, readFileSync(join(folder, name), "utf8")]));
  const anchors = new Map(
    [...pages].map(([name, html]) => [
      name,
      new Set([...html.matchAll(/ id="([^"]+)"/gu)].map(([, id]) => decoded(id))),
    ]),
  );
  const fileOf = (page, path) => {
    const name = path.startsWith("/") ? path.slice(1) : join(dirname(page), path);
    const inside = name === "" || name.endsWith("/") ? `${name}index.html` : name;
    return existsSync(join(folder, inside)) && statSync(join(folder, inside)).isFile() ? inside : undefined;
  };
  const problems = [];
  let count = 0;
  for (const [page, html] of pages) {
    for (const [, target] of html.matchAll(/<(?:a|img|source)\b[^>]* (?:href|src)="([^"]*)"/gu)) {
      if (/^[a-z]+:/u.test(target) || target === "#") continue;
      count += 1;
      const [path, anchor] = target.split("#");
      const file = path === "" ? page : fileOf(page, decoded(path));
      if (file === undefined) problems.push(`${page}: ${target} is not there`);
      else if (anchor && !anchors.get(file)?.has(decoded(anchor)))
        problems.push(`${page}: ${target} has no such anchor`);
    }
  }
  for (const problem of new Set(problems)) console.error(problem);
  console.log(`${pages.size} pages, ${count} links, ${new Set(problems).size} dead`);
  return problems.length === 0 && count > 0 ? 0 : 1;
};
