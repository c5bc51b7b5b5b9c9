/**
 * Who picks the experts: the router by the prompt, a table of your own, or chance; and what one request may change.
 *
 *     npx tsx examples/router-policy.ts [model] [steps]
 */
import { openMilora, type GenerateRequest, type MethodInput } from "milora";

const [model = "smollm2-135m", steps = "10"] = process.argv.slice(2);
const milora = await openMilora({ model });
const { layers } = await milora.graph();
const [half, last] = [Math.ceil(layers.length / 2), layers.length - 1];

const milora3 = { kind: "milora", rank: 8, topK: 3 } as const;
const methods: Readonly<Record<string, MethodInput>> = {
  learned: milora3,
  // Attention below, the MLP above; a layer that no range names has no active expert.
  table: {
    ...milora3,
    policy: { kind: "fixed", layers: { [`0-${half - 1}`]: ["q", "v"], [`${half}-${last}`]: ["up", "down"] } },
  },
  chance: { ...milora3, policy: { kind: "random", seed: 1 } },
};
for (const [name, method] of Object.entries(methods)) {
  const { trainable, routers, activated } = await milora.params(method);
  console.log(`${name}: trains ${trainable}, of which routers ${routers}; a token uses ${activated.mean}`);
  const run = milora.train(
    {
      method,
      data: { task: "smart-home", limit: 64 },
      train: { maxSteps: Number(steps), batchSize: 8, learningRate: 1e-3, maxLength: 256 },
    },
    { out: `runs/policy-${name}-${Date.now()}` },
  );
  await milora.load(name, (await run.result).adapter);
}

const prompt = "Request: Make the hall warmer.\nCalls:";
const requests: readonly GenerateRequest[] = [
  ...Object.keys(methods).map((tenant) => ({ tenant, prompt })),
  { tenant: "learned", prompt, topK: 1, keepDecisionAs: "one expert" },
  { tenant: "learned", prompt, masked: ["q", "down"] },
];
const texts = await milora.generate(requests, { maxNewTokens: 16, explain: true });
const next = { tenant: "learned", prompt: `${prompt} and now?`, decision: "one expert" };
texts.forEach(({ tenant, routing }, index) => {
  const { topK = "-", masked = [] } = requests[index] ?? {};
  console.log(tenant, { topK, masked }, `layer 0: ${routing?.experts[0]?.join(" ")}`);
});
const [kept] = await milora.generate([next], { maxNewTokens: 16, explain: true });
console.log(`kept for the next turn: ${kept?.routing?.experts[0]?.join(" ")}`);
await milora.close();
