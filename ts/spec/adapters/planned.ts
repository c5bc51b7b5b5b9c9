import { z } from "zod";
import { expertName } from "../roles.js";

/** The format of the adapters that this package writes and reads; one number for all its own methods. */
export const adapterFormatVersion = 1;

/** What every config of a method of ours begins with. */
export const plannedHeader = {
  task_type: z.literal("CAUSAL_LM"),
  base_model_name_or_path: z.string(),
  inference_mode: z.boolean().default(true),
  format_version: z.int().min(1),
  requires: z.literal("milora").default("milora"),
};

/** A linear module, or a block, of a layer. */
export const plannedModule = {
  name: expertName,
  /** Path inside the layer. */
  module: z.string().min(1),
  in_features: z.int().min(1),
  out_features: z.int().min(1),
};

/** The end of a config: names that PEFT matches modules by, and the layers with `Module`'s fields in each. */
export const plannedBody = <Module extends z.ZodType>(module: Module) => ({
  target_modules: z.array(z.string()).min(1),
  hidden_size: z.int().min(1),
  layers: z.array(z.strictObject({ path: z.string().min(1), modules: z.array(module).min(1) })).min(1),
});

/** Which modules of a layer are adapted, and how they are called in a decoder that is not known. */
export const moduleFields = {
  modules: z
    .array(expertName)
    .min(1)
    .optional()
    .meta({ description: "Which modules of a layer are adapted (q k v o gate up down); all by default." }),
  moduleNames: z
    .record(expertName, z.string())
    .optional()
    .meta({ description: "For a decoder that is not known: expert name → path of the linear module inside a layer." }),
};

/** `paper`: the paper's settings, which are the defaults. `small`: about 2.4 M parameters on a model of 135 M. */
export const presetField = z.enum(["paper", "small"]).optional().meta({
  description:
    "`paper`: the paper's settings, which are the defaults. `small`: the same budget for every method on a small model (about 2.4 million parameters on SmolLM2-135M). What the spec says itself wins.",
});
