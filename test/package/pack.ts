import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";

const packReport = z
  .array(z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) }))
  .length(1);

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
  const { stdout } = await execa("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project], {
    cwd: packageRoot,
  });
  const [report] = packReport.parse(JSON.parse(stdout));
  if (report === undefined) throw new Error("npm pack reported nothing");
  const tarball = join(project, report.filename);
  await execa("tar", ["-xzf", tarball, "-C", unpacked, "--strip-components=1"]);
  return {
    project,
    tarball,
    files: report.files.map(({ path }) => path),
    remove: (): void => rmSync(project, { recursive: true, force: true }),
  };
};
