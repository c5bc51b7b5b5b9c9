/**
 * Serves several adapters on one model: texts of all tenants are written in one batch, each is a stream.
 *
 *     npx tsx examples/many-tenants.ts [model] [name=adapter-folder …]
 */
import { openMilora } from "milora";

const [model = "smollm2-135m", ...given] = process.argv.slice(2);
const milora = await openMilora({ model });

/** A small adapter that answers in its own way, for a first try without adapters of your own. */
const trained = async (name: string): Promise<string> => {
  const run = milora.train(
    {
      method: { kind: "milora", rank: 8 },
      data: { task: "smart-home", limit: 64 },
      train: { maxSteps: 4, batchSize: 8, learningRate: 2e-3, maxLength: 256, seed: name.length },
    },
    { out: `runs/tenant-${name}-${Date.now()}` },
  );
  return (await run.result).adapter;
};
const tenants = new Map(given.map((pair): [string, string] => [pair.split("=")[0] ?? "", pair.split("=")[1] ?? ""]));
if (tenants.size === 0) for (const name of ["kitchen", "hall"]) tenants.set(name, await trained(name));

const engine = await milora.engine({ maxRows: 16 });
for (const [name, folder] of tenants) await engine.load(name, folder);

// Asked for at once, written together; a request without a tenant is the base model's.
const prompt = "Request: Turn off the light, please.\nCalls:";
const texts = await Promise.all(
  [...tenants.keys(), undefined].map((tenant) => engine.stream({ tenant, prompt, maxNewTokens: 24 }).result),
);
for (const { tenant, text, newTokens } of texts) console.log(`${tenant ?? "base"} (${newTokens} tokens): ${text}`);

// Piece by piece, sampled, with fewer experts than trained, and given up after a while.
const [tenant] = tenants.keys();
const sampling = { temperature: 0.7, topP: 0.9, seed: 1 };
const signal = AbortSignal.timeout(60_000);
const stream = engine.stream({ tenant, prompt, maxNewTokens: 24, topK: 1, sampling }, { signal });
for await (const piece of stream) process.stdout.write(piece);
console.log(`\nfinished by ${(await stream.result).finish}`);

await engine.close();
await milora.close();
