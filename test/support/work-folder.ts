import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";

const runs = join(packageRoot, ".test-runs");

/** A new folder inside the package, so that `import "milora"` is this very package; removed when `keep` says so. */
export const workFolder = ({ remove = true }: { readonly remove?: boolean } = {}): string => {
  mkdirSync(runs, { recursive: true });
  const folder = mkdtempSync(join(runs, "run-"));
  if (remove) onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};
