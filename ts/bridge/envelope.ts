import { z } from "zod";
import { type ErrorCode, errorCodes, MiloraError, PythonError } from "../errors.js";
import { protocolError } from "./errors.js";
import { decode } from "./wire.js";

const detailsSchema = z.object({
  file: z.string().optional().catch(undefined),
  line: z.int().optional().catch(undefined),
  path: z.string().optional().catch(undefined),
  found: z.string().optional().catch(undefined),
  allowed: z.string().optional().catch(undefined),
  hint: z.string().optional().catch(undefined),
  problems: z.array(z.string()).optional().catch(undefined),
});

const linkSchema = z.object({
  type: z.string(),
  module: z.string(),
  message: z.string(),
  traceback: z.string(),
  code: z.string().optional(),
  details: detailsSchema.optional(),
});

type Link = z.output<typeof linkSchema>;

const failureSchema = z.object({ e: z.array(linkSchema).min(1) });

const codeOf = (link: Link): ErrorCode => errorCodes.find((code) => code === link.code) ?? "python/exception";

const errorOfLink = (link: Link, cause: MiloraError | undefined): MiloraError => {
  const code = codeOf(link);
  if (code === "cancelled") return new MiloraError("cancelled", link.message, { cause });
  const message = code === "python/exception" ? `${link.type}: ${link.message}` : link.message;
  return new PythonError(code, message, {
    ...link.details,
    pythonType: link.type,
    pythonModule: link.module,
    traceback: link.traceback,
    cause,
  });
};

const errorOfLinks = (links: readonly Link[]): MiloraError => {
  const [first, ...causes] = links;
  if (first === undefined) return protocolError("Python sent an error without a description.");
  return errorOfLink(first, causes.length === 0 ? undefined : errorOfLinks(causes));
};

/** Before milora's server is in it, Python answers with a bare traceback. */
const errorOfTraceback = (text: string): MiloraError => {
  const [, pythonType = "Exception", message = ""] = /^(\w[\w.]*)(?:: (.*))?\s*$/.exec(lastLine(text)) ?? [];
  const missing = /^No module named '([^']+)'/.exec(message)?.[1];
  if (missing === undefined) return errorOfLink({ type: pythonType, module: "", message, traceback: text }, undefined);
  return new PythonError("environment/missing-package", `Python lacks the module ${missing}.`, {
    found: missing,
    hint: "Install the requirements of py/pyproject.toml there, or unset MILORA_PYTHON so that milora makes its own.",
    pythonType,
    pythonModule: "builtins",
    traceback: text,
  });
};

const lastLine = (text: string): string => text.trimEnd().split("\n").at(-1) ?? "";

/** The error that a failure envelope `{e: […]}` describes, with its causes. */
export const errorOfEnvelope = (text: string): MiloraError => {
  if (text.startsWith("Traceback ")) return errorOfTraceback(text);
  try {
    return errorOfLinks(failureSchema.parse(decode(text)).e);
  } catch (cause) {
    return protocolError(`Python sent an error that cannot be read: ${text.slice(0, 2000)}`, { cause });
  }
};

/**
 * The value of an envelope `{v}`.
 * @throws PythonError (or a MiloraError with code `cancelled`) of an envelope `{e}`.
 */
export const openEnvelope = (text: unknown): unknown => {
  if (typeof text !== "string") throw protocolError(`Python sent ${typeof text} where an envelope was due.`);
  const envelope = decode(text);
  if (typeof envelope === "object" && envelope !== null && "v" in envelope) return envelope.v;
  throw errorOfEnvelope(text);
};
