import { z } from "zod";
import { isRecord } from "../util/records.js";

/** The dotted paths of a schema's fields; below an open one any name may follow. */
export interface SchemaPaths {
  readonly known: readonly string[];
  readonly open: readonly string[];
}

/** Every field that some branch of a schema has, such as `train.seed`. */
export const schemaPaths = (schema: z.ZodType): SchemaPaths => {
  const known = new Set<string>();
  const open = new Set<string>();
  const visit = (node: unknown, prefix: string): void => {
    if (!isRecord(node)) return;
    for (const key of ["anyOf", "oneOf", "allOf"]) {
      const branches = node[key];
      if (Array.isArray(branches)) for (const branch of branches) visit(branch, prefix);
    }
    if (isRecord(node["additionalProperties"]) && prefix !== "") open.add(prefix);
    if (!isRecord(node["properties"])) return;
    for (const [name, child] of Object.entries(node["properties"])) {
      const path = prefix === "" ? name : `${prefix}.${name}`;
      known.add(path);
      visit(child, path);
    }
  };
  visit(z.toJSONSchema(schema, { io: "input" }), "");
  return { known: [...known], open: [...open] };
};

export const isSchemaPath = ({ known, open }: SchemaPaths, path: string): boolean =>
  known.includes(path) || open.some((prefix) => path.startsWith(`${prefix}.`));
