import { statSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";

const packReport = z.tuple([z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })]);

/** The package as npm would publish it, from a checkout that is built. */
export const packTarball = async (checkout: string, folder: string) => {
  const { stdout } = await execa("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: checkout,
  });
  const [{ filename, files }] = packReport.parse(JSON.parse(stdout));
  const file = join(folder, filename);
  return { file, files: files.map(({ path }) => path), megabytes: statSync(file).size / 1e6 };
};
