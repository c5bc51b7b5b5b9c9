import { defineConfig } from "vitepress";

const item = (text, link) => ({ text, link });
/** A group that could be closed would have its links inside a button. */
const group = (text, items) => ({ text, items });

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
  head: [["link", { rel: "icon", href: "/icon.svg" }]],
  srcDir: ".site",
  outDir: ".dist",
  cleanUrls: false,
  metaChunk: true,
  // The default theme's comments and numbers are too faint on a code block's ground (WCAG 2, AA).
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    config: ({ renderer: { rules } }) => {
      const codeBlock = rules.code_block;
      // An indented block scrolls sideways too; the keyboard has to reach it, as it does the fenced ones.
      rules.code_block = (...args) => codeBlock(...args).replace("<pre", '<pre tabindex="0"');
    },
  },
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
