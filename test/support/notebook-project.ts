import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { packMilora } from "../package/pack.js";

const lockSchema = z.object({ packages: z.record(z.string(), z.object({ dev: z.boolean().default(false) })) });

/** What milora depends on as the lock file says, and the types of Node, which tslab looks for in the project. */
const neededPackages = (): readonly string[] => {
  const { packages } = lockSchema.parse(JSON.parse(readFileSync(join(packageRoot, "package-lock.json"), "utf8")));
  const own = Object.keys(packages).filter((path) => path !== "" && packages[path]?.dev === false);
  // Optional ones are of other platforms.
  const there = own.filter((path) => existsSync(join(packageRoot, path)));
  return [...there, "node_modules/@types/node", "node_modules/undici-types"];
};

/**
 * A user's project with the packed milora and copies of all that it depends on, apart from the checkout: tslab's
 * compiler watches every node_modules above a notebook and fails from then on where a file in it changes.
 */
export const notebookProject = async () => {
  const packed = await packMilora();
  const project = mkdtempSync(join(tmpdir(), "milora-notebook-"));
  try {
    cpSync(join(packed.project, "node_modules"), join(project, "node_modules"), { recursive: true });
  } finally {
    packed.remove();
  }
  for (const path of neededPackages())
    cpSync(join(packageRoot, path), join(project, path), { recursive: true, dereference: true });
  return { project, remove: (): void => rmSync(project, { recursive: true, force: true }) };
};
