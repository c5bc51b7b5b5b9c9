import { realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { writeFileAtomic } from "../../util/files.js";
import { readJsonIfThere } from "../../util/files.js";
import { type Variables, miloraHome, shortHash } from "./paths.js";
import { probeScript } from "./probe-script.js";
import type { Requirements } from "./requirements.js";

const reportSchema = z.object({
  /** Python's own version, such as `3.11.7`. */
  version: z.string(),
  /** The site-packages folder. */
  purelib: z.string(),
  packages: z.record(z.string(), z.object({ version: z.string().nullable(), error: z.string().nullable() })),
  /** What torch sees; null without a torch that imports. */
  device: z
    .object({
      cuda: z.boolean(),
      /** The CUDA version that torch was built for; null for a build without CUDA. */
      cudaBuild: z.string().nullable(),
      mps: z.boolean(),
      name: z.string().nullable(),
    })
    .nullable(),
});

/** What an interpreter has, found by importing it all in a child process. */
export type ProbeReport = z.output<typeof reportSchema>;

const cacheSchema = z.object({ fingerprint: z.string(), report: reportSchema });

const timeoutMs = 300_000;

export interface ProbeOptions {
  readonly python: string;
  readonly requirements: Requirements;
  readonly variables: Variables;
  readonly signal?: AbortSignal | undefined;
}

const names = (list: readonly { readonly name: string }[]): string => JSON.stringify(list.map(({ name }) => name));

/** Starts the interpreter and imports the requirements; several seconds. Errors: `environment/no-python`, `cancelled`. */
export const probe = async ({ python, requirements, variables, signal }: ProbeOptions): Promise<ProbeReport> => {
  const extras = [...requirements.extras.demo, ...requirements.extras.dev];
  const result = await execa(python, ["-c", probeScript, names(requirements.base), names(extras)], {
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    env: { ...variables },
    extendEnv: false,
    reject: false,
    stdin: "ignore",
    timeout: timeoutMs,
  });
  if (result.isCanceled) throw new MiloraError("cancelled", `cancelled while looking at ${python}`);
  const report = reportSchema.safeParse(parseJson(result.stdout.trim().split("\n").at(-1) ?? ""));
  if (!result.failed && report.success) return report.data;
  const found = result.stderr.trim().split("\n").at(-1) || result.originalMessage || `exit code ${result.exitCode}`;
  throw new MiloraError("environment/no-python", `${python} does not run as Python: ${found}`, {
    file: python,
    found,
    allowed: `a Python ${requirements.python}`,
    hint:
      python === variables["MILORA_PYTHON"]
        ? "MILORA_PYTHON names it: point it at another Python, or unset it and milora makes an environment of its own"
        : "Run milora doctor to see which Python is used, and milora setup to make one.",
  });
};

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

const cacheFile = (python: string, variables: Variables): string =>
  join(miloraHome(variables), "probes", `${shortHash(python)}.json`);

/** Changes whenever the interpreter is another one or a package comes, goes or changes its version. */
const fingerprintOf = (python: string, purelib: string, requirements: Requirements): string => {
  const interpreter = realpathSync(python);
  const { mtimeMs, size } = statSync(interpreter);
  const looked = names([...requirements.base, ...requirements.extras.demo, ...requirements.extras.dev]);
  return shortHash(interpreter, String(mtimeMs), String(size), String(statSync(purelib).mtimeMs), looked);
};

/** The report of an earlier probe, as long as nothing changed since; starts no Python. */
export const cachedProbe = ({ python, requirements, variables }: ProbeOptions): ProbeReport | undefined => {
  const cache = cacheSchema.safeParse(readJsonIfThere(cacheFile(python, variables)));
  if (!cache.success) return undefined;
  try {
    const now = fingerprintOf(python, cache.data.report.purelib, requirements);
    return now === cache.data.fingerprint ? cache.data.report : undefined;
  } catch {
    return undefined;
  }
};

/** {@link cachedProbe}, or a new probe, remembered unless an import failed (for a reason that may pass). */
export const probeOnce = async (options: ProbeOptions): Promise<ProbeReport> => {
  const cached = cachedProbe(options);
  if (cached !== undefined) return cached;
  const report = await probe(options);
  if (Object.values(report.packages).some(({ error }) => error !== null)) return report;
  const { python, requirements, variables } = options;
  const fingerprint = fingerprintOf(python, report.purelib, requirements);
  await writeFileAtomic(cacheFile(python, variables), JSON.stringify({ fingerprint, report }));
  return report;
};
