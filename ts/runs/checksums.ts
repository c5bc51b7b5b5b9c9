import { createHash } from "node:crypto";
import { createReadStream, readdirSync } from "node:fs";
import { join } from "node:path";

/** SHA-256 of a text, in hexadecimal. */
export const textChecksum = (text: string): string => createHash("sha256").update(text).digest("hex");

/** SHA-256 of a file, in hexadecimal, read piece by piece. */
export const fileChecksum = async (file: string): Promise<string> => {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file)) hash.update(piece);
  return hash.digest("hex");
};

/** Checksums of every file below a folder, by its path in it with `/`. */
export const folderChecksums = async (folder: string): Promise<Readonly<Record<string, string>>> => {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll("\\", "/"),
    )
    .toSorted();
  const sums: Record<string, string> = {};
  for (const file of files) sums[file] = await fileChecksum(join(folder, file));
  return sums;
};

/** The first fault of a folder against its checksums, a sentence; undefined where it is whole. */
export const folderFault = async (
  folder: string,
  expected: Readonly<Record<string, string>>,
): Promise<string | undefined> => {
  for (const [name, sum] of Object.entries(expected)) {
    const found = await fileChecksum(join(folder, name)).catch(() => undefined);
    if (found === undefined) return `${name} cannot be read`;
    if (found !== sum) return `${name} is not as it was written (its checksum differs)`;
  }
  return undefined;
};
