import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Hub, HubPart } from "../../ts/data/hub.js";
import { MiloraError } from "../../ts/errors.js";
import { temporaryFolder } from "./temporary-folder.js";

/** Rows by `owner/name config split`; the config of a default one is `default`. */
export type HubData = Readonly<Record<string, readonly object[]>>;

export interface FakeHub extends Hub {
  /** What was fetched, oldest first. */
  readonly asked: readonly HubPart[];
}

export const fakeCommit = "0123456789abcdef0123456789abcdef01234567";

/** A hub that has the rows of `data` and nothing else; its cache is `home`, or a folder of its own. */
export const createFakeHub = async (data: HubData, home?: string): Promise<FakeHub> => {
  const asked: HubPart[] = [];
  return {
    home: home ?? (await temporaryFolder()),
    asked,
    fetch: async ({ file, ...part }) => {
      asked.push(part);
      const rows = data[`${part.id} ${part.config ?? "default"} ${part.split}`];
      if (rows === undefined) throw new MiloraError("data/not-found", `There is no ${part.id} on the hub.`);
      const chosen = rows.map((row) =>
        Object.fromEntries(Object.entries(row).filter(([name]) => part.columns.includes(name))),
      );
      await writeFile(file, chosen.map((row) => `${JSON.stringify(row)}\n`).join(""));
      return { rows: rows.length, commit: fakeCommit, datasets: "5.2.0" };
    },
  };
};

/** A hub that fails in the same way whatever is asked. */
export const createFailingHub = async (error: MiloraError, home?: string): Promise<Hub> => ({
  home: home ?? (await temporaryFolder()),
  fetch: () => {
    throw error;
  },
});

export const unreachable = new MiloraError("data/unreachable", "The hub could not be reached.", {
  hint: "Check the network.",
});

/** Where a hub keeps its cached folders. */
export const cacheFolder = (home: string): string => join(home, "hub");
