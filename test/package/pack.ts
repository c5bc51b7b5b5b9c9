import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { packTarball } from "../../scripts/lib/package-trial/pack.js";
import { packageRoot } from "../../ts/bridge/environment/index.js";

/**
 * The package as npm would publish it, in a new folder below the checkout (so that its dependencies resolve): the
 * tarball, its files' paths, and a project that has it in node_modules. `remove` removes the folder.
 */
export const packMilora = async () => {
  const project = join(
    packageRoot,
    ".bootstrap",
    `package-test-${process.pid}-${Math.random().toString(36).slice(2)}`,
  );
  const unpacked = join(project, "node_modules", "milora");
  mkdirSync(unpacked, { recursive: true });
  const { file: tarball, files } = await packTarball(packageRoot, project);
  await execa("tar", ["-xzf", tarball, "-C", unpacked, "--strip-components=1"]);
  return {
    project,
    tarball,
    files,
    remove: (): void => rmSync(project, { recursive: true, force: true }),
  };
};
