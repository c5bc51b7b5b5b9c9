/**
 * The layers of ts/: what each folder (or file) may import besides itself. This table is the one statement of it;
 * scripts/check-layers.mjs fails when a folder of ts/ is missing here, or when nothing was cruised.
 */
const layers = {
  errors: [],
  util: ["errors"],
  spec: ["errors", "util"],
  graph: ["errors", "util", "spec"],
  methods: ["errors", "util", "spec", "graph"],
  data: ["errors", "util", "spec"],
  tasks: ["errors", "util", "spec", "data"],
  backend: ["errors", "spec"],
  bridge: ["errors", "util", "spec", "backend"],
  runs: ["errors", "util", "spec"],
  train: ["errors", "util", "spec", "graph", "methods", "data", "tasks", "backend", "runs"],
  evaluate: ["errors", "util", "spec", "graph", "methods", "data", "tasks", "backend", "runs"],
  generate: ["errors", "util", "spec", "backend"],
  bench: ["errors", "util", "spec", "graph", "methods", "data", "tasks", "backend", "generate", "runs"],
  sweep: ["errors", "util", "spec", "backend", "runs"],
  report: ["errors", "util", "spec", "graph", "methods", "runs"],
  reproduce: ["errors", "util", "spec", "report"],
  display: ["errors", "util", "spec", "runs", "train", "generate", "report"],
  client: [
    "errors",
    "util",
    "spec",
    "graph",
    "methods",
    "data",
    "tasks",
    "backend",
    "bridge",
    "runs",
    "train",
    "evaluate",
    "generate",
    "bench",
    "report",
  ],
  cli: ["errors", "util", "spec", "client", "runs", "sweep", "report", "reproduce"],
};

const pathOf = (layer) => `^ts/${layer}(\\.ts$|/)`;

/** Milora's own index.ts is the public list: it may import anything but cli. */
const layerRules = Object.entries(layers).map(([layer, allowed]) => ({
  name: `layer-${layer}`,
  comment: `ts/${layer} may import: ${allowed.join(", ") || "nothing"}`,
  severity: "error",
  from: { path: pathOf(layer) },
  to: { path: "^ts/", pathNot: [layer, ...allowed].map(pathOf) },
}));

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    ...layerRules,
    { name: "no-cycle", severity: "error", from: {}, to: { circular: true } },
    { name: "index-without-cli", severity: "error", from: { path: "^ts/index\\.ts$" }, to: { path: "^ts/cli/" } },
    {
      name: "only-bridge-imports-pythonia",
      severity: "error",
      from: { path: "^ts/", pathNot: "^ts/bridge/" },
      to: { path: "node_modules/pythonia/" },
    },
    {
      name: "only-bridge-and-sweep-import-execa",
      severity: "error",
      from: { path: "^ts/", pathNot: "^ts/(bridge|sweep)/" },
      to: { path: "node_modules/execa/" },
    },
    {
      name: "environment-without-pythonia",
      severity: "error",
      from: { path: "^ts/bridge/environment/" },
      to: { path: "node_modules/pythonia/" },
    },
    {
      name: "no-dev-dependency",
      severity: "error",
      from: { path: "^ts/" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg"], dependencyTypesNot: ["type-only"] },
    },
    { name: "no-unresolved", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    parser: "swc",
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: [".ts", ".js", ".json"],
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
    },
  },
};
