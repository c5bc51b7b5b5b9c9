import { MiloraError } from "../errors.js";

/** One linear module of a decoder layer that an adapter can sit on. */
export interface GraphModule {
  /** A role (q k v o gate up down), a fused role (qkv, gate_up), or a name from the spec. */
  readonly name: string;
  /** Path inside the layer, such as `self_attn.q_proj`. */
  readonly module: string;
  /** Width of the input. */
  readonly inFeatures: number;
  /** Width of the output. */
  readonly outFeatures: number;
}

/** One decoder layer. */
export interface GraphLayer {
  /** Path inside the causal language model, such as `model.layers.0`. */
  readonly path: string;
  /** Its linear modules that an adapter can sit on. */
  readonly modules: readonly GraphModule[];
}

/** A decoder as routing sees it: layers, and in each the modules that can be experts. */
export interface ModelGraph {
  /** As it was named: a hub id, a folder, a `.gguf` file, or `smollm2-135m`. */
  readonly model: string;
  /** What transformers' `from_pretrained` takes: a hub id or an absolute folder. */
  readonly location: string;
  /** The class in transformers, such as `LlamaForCausalLM`. */
  readonly architecture: string;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Parameters of the whole model. */
  readonly numParameters: number;
  /** The longest sequence that its positions reach; null where its config does not say. */
  readonly contextLength: number | null;
  /** The decoder's layers, from the first. */
  readonly layers: readonly GraphLayer[];
}

interface DescribedLinear {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** What the Python side tells of a model, from its config alone. */
export interface DescribedModel {
  readonly model: string;
  readonly location: string;
  readonly architecture: string;
  readonly hiddenSize: number;
  readonly numParameters: number;
  readonly contextLength: number | null;
  readonly layers: readonly { readonly path: string; readonly linears: readonly DescribedLinear[] }[];
}

const roleOfComponent: Readonly<Record<string, string>> = {
  q_proj: "q",
  k_proj: "k",
  v_proj: "v",
  o_proj: "o",
  gate_proj: "gate",
  up_proj: "up",
  down_proj: "down",
  qkv_proj: "qkv",
  gate_up_proj: "gate_up",
};

/** The sets of modules that we take for a whole layer: split projections, and Phi-3's fused ones. */
const layouts: readonly (readonly string[])[] = [
  ["q", "k", "v", "o", "gate", "up", "down"],
  ["qkv", "o", "gate_up", "down"],
];

const lastComponent = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

const byRoles = (linears: readonly DescribedLinear[]): readonly GraphModule[] | undefined => {
  const named = linears.flatMap((linear) => {
    const role = roleOfComponent[lastComponent(linear.name)];
    return role === undefined ? [] : [{ role, linear }];
  });
  const layout = layouts.find(
    (wanted) => wanted.length === named.length && wanted.every((role) => named.some((entry) => entry.role === role)),
  );
  return layout?.flatMap((role) =>
    named
      .filter((entry) => entry.role === role)
      .map(({ linear }) => ({
        name: role,
        module: linear.name,
        inFeatures: linear.inFeatures,
        outFeatures: linear.outFeatures,
      })),
  );
};

const byNames = (
  linears: readonly DescribedLinear[],
  moduleNames: Readonly<Record<string, string>>,
): readonly GraphModule[] =>
  Object.entries(moduleNames).flatMap(([name, module]) => {
    const linear = linears.find((candidate) => candidate.name === module);
    return linear === undefined
      ? []
      : [{ name, module, inFeatures: linear.inFeatures, outFeatures: linear.outFeatures }];
  });

const linearList = (described: DescribedModel): readonly string[] => [
  ...new Set(described.layers.flatMap((layer) => layer.linears.map((linear) => linear.name))),
];

const checkModuleNames = (described: DescribedModel, moduleNames: Readonly<Record<string, string>>): void => {
  const known = linearList(described);
  for (const [name, module] of Object.entries(moduleNames))
    if (!known.includes(module))
      throw new MiloraError(
        "input/unknown-name",
        `method.moduleNames.${name}: no layer of ${described.model} has a linear module "${module}". Its linear modules: ${known.join(", ")}.`,
        { path: `method.moduleNames.${name}`, found: module, allowed: known.join(", ") },
      );
};

/**
 * Resolves a described model into roles.
 * @throws MiloraError `model/unsupported` with the list of the linear modules where the roles don't fit and
 * `moduleNames` says nothing; `input/unknown-name` where `moduleNames` names a module that no layer has.
 */
export const resolveGraph = (
  described: DescribedModel,
  moduleNames?: Readonly<Record<string, string>>,
): ModelGraph => {
  if (moduleNames !== undefined) checkModuleNames(described, moduleNames);
  const layers = described.layers.map((layer) => {
    const modules = moduleNames === undefined ? byRoles(layer.linears) : byNames(layer.linears, moduleNames);
    if (modules === undefined || modules.length === 0)
      throw new MiloraError(
        "model/unsupported",
        `The linear modules of ${layer.path} (${described.architecture}) don't fit the roles q k v o gate up down. ` +
          `Name the ones to adapt in method.moduleNames, such as {"q": "self_attn.q_proj"}. ` +
          `Linear modules of a layer: ${linearList(described).join(", ") || "none"}.`,
        { found: linearList(described).join(", "), allowed: "q k v o gate up down", path: "method.moduleNames" },
      );
    return { path: layer.path, modules };
  });
  const { model, location, architecture, hiddenSize, numParameters, contextLength } = described;
  return { model, location, architecture, hiddenSize, numParameters, contextLength, layers };
};

/** The names of the modules that occur in any layer, in order of first appearance. */
export const moduleNamesOf = (graph: ModelGraph): readonly string[] => [
  ...new Set(graph.layers.flatMap((layer) => layer.modules.map((module) => module.name))),
];
