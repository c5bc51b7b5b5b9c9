import { defineConfig } from "vitepress";

const item = (text, link) => ({ text, link });
/** Without `collapsed` a group is always open, and its title is no button. */
const group = (text, items, collapsed) => ({ text, items, collapsed });

const methods = [
  ["Overview", ""],
  ["LoRA", "lora"],
  ["DoRA", "dora"],
  ["AdaLoRA", "adalora"],
  ["MOELoRA", "moelora"],
  ["Parallel-Adapter", "parallel-adapter"],
  ["Learned-Adapter", "learned-adapter"],
  ["P-tuning v2", "p-tuning-v2"],
  ["IAPT", "iapt"],
  ["BitFit", "bitfit"],
  ["(IA)³", "ia3"],
  ["SSP", "ssp"],
];

export default defineConfig({
  title: "milora",
  description:
    "Fine-tune Hugging Face checkpoints from TypeScript, with adapters that route themselves by the prompt.",
  srcDir: ".site",
  outDir: ".dist",
  cleanUrls: false,
  metaChunk: true,
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      item("Guide", "/guide"),
      item("Reference", "/reference/"),
      item("Examples", "/examples/"),
      item("Results", "/results/"),
    ],
    sidebar: [
      group("Start", [
        item("Guide", "/guide"),
        item("Concepts", "/concepts"),
        item("Glossary", "/glossary"),
        item("Coming from elsewhere", "/coming-from"),
      ]),
      group("Work", [
        item("Data", "/data"),
        item("Training", "/training"),
        item("Evaluation", "/evaluation"),
        item("Judging", "/judging"),
        item("Generation", "/generation"),
        item("Comparing", "/comparing"),
        item("Reports", "/reports"),
        item("The paper's tables", "/reproduce"),
        item("Notebooks", "/notebooks"),
        item("Python", "/python"),
      ]),
      group("When it does not work", [
        item("Troubleshooting", "/troubleshooting"),
        item("Error codes", "/errors"),
        item("GPUs", "/gpus"),
        item("Ranks", "/ranks"),
        item("Limits", "/limits"),
      ]),
      group("Reference", [
        item("Overview", "/reference/"),
        item("Command line", "/reference/cli"),
        item("Spec", "/reference/spec"),
        item("TypeScript", "/reference/typescript/"),
        item("Python", "/reference/python"),
        item("Events", "/events"),
        item("Benchmarks", "/benchmarks"),
      ]),
      group(
        "Methods",
        methods.map(([text, name]) => item(text, `/methods/${name}`)),
        true,
      ),
      group("Background", [
        item("Results", "/results/"),
        item("Decisions", "/decisions/"),
        item("Changelog", "/changelog"),
        item("Deprecations", "/deprecations"),
        item("Contributing", "/contributing"),
      ]),
    ],
  },
});
