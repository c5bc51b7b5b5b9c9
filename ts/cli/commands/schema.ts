import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { specSchemas } from "../../spec/registry.js";
import { unknownNameMessage } from "../../util/did-you-mean.js";
import type { CommandContext } from "../output.js";

/** `milora schema [name]`: the JSON Schema of a spec, that of a run by default. */
export const schema = async (_context: CommandContext, _options: object, name: string): Promise<void> => {
  const wanted = name === "" ? "run" : name;
  const known = Object.entries(specSchemas);
  const found = known.find(([key]) => key === wanted);
  if (found === undefined)
    throw new MiloraError(
      "input/unknown-name",
      unknownNameMessage(
        "schema",
        wanted,
        known.map(([key]) => key),
      ),
    );
  process.stdout.write(`${JSON.stringify(z.toJSONSchema(found[1], { io: "input" }), undefined, 2)}\n`);
};
