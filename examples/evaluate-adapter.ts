/**
 * Scores an adapter that was made elsewhere, such as by plain PEFT, against its base model, row by row.
 *
 *     npx tsx examples/evaluate-adapter.ts base-model adapter-folder [task,task] [data folder]
 */
import { compareResults, MiloraError, openMilora } from "milora";

const [model, adapter, names = "smart-home", dir] = process.argv.slice(2);
if (model === undefined || adapter === undefined) throw new Error("name a base model and an adapter's folder");

const milora = await openMilora({ model });
const scored = { tasks: names.split(","), dir, limit: 20, maxNewTokens: 32 };
try {
  const base = await milora.evaluate(scored);
  const tuned = await milora.evaluate({ ...scored, adapter });
  base.results.forEach((result, index) => {
    const other = tuned.results[index];
    if (other === undefined) return;
    const { task, protocol, first, second, onlyFirst, onlySecond, p, verdict } = compareResults(result, other);
    console.log(`${task}: base ${first.correct}, adapter ${second.correct} right (${verdict}, p ${p.toFixed(3)})`);
    console.log(`  only the base right ${onlyFirst}, only the adapter right ${onlySecond}`);
    console.log(`  ${protocol}`);
  });
} catch (error) {
  // An adapter of another base model, a missing tensor, a method that is not known: refused by name, never loaded in part.
  if (!MiloraError.isInstance(error) || !error.code.startsWith("adapter/")) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 2;
}
await milora.close();
