import { existsSync, rmSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { listFiles, readText } from "./paths.mjs";

const imported = /(?:from|import\()\s*["'](\.[^"']+)\.js["']/gu;

/** The declarations that `entry` reaches, itself among them. */
const reachedFrom = (entry) => {
  const reached = new Set();
  const next = [entry];
  for (let file = next.pop(); file !== undefined; file = next.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    for (const [, path] of readText(file).matchAll(imported))
      next.push(normalize(join(dirname(file), `${path}.d.ts`)));
  }
  return reached;
};

/** The package has one way in, so that the declarations which dist/index.d.ts does not reach are of no use to anyone. */
export const pruneDeclarations = (dist) => {
  const entry = join(dist, "index.d.ts");
  if (!existsSync(entry)) return;
  const reached = reachedFrom(entry);
  for (const name of listFiles(dist, ".d.ts")) {
    if (!reached.has(join(dist, name))) rmSync(join(dist, name));
  }
};
