import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** SSP: a search for the LoRA modules and biases that are worth their parameters, within a budget. */
export const sspMethod = z.strictObject({
  kind: z.literal("ssp"),
  preset: presetField,
  rank: z.int().min(1).default(64).meta({ description: "Rank of each LoRA module that may be kept." }),
  alpha: z
    .number()
    .positive()
    .optional()
    .meta({ description: "Scale alpha / rank of the update; the rank by default." }),
  budgetRank: z
    .int()
    .min(1)
    .default(32)
    .meta({ description: "The budget: as many parameters as LoRA of this rank on the same modules." }),
  budget: z
    .int()
    .min(1)
    .optional()
    .meta({ description: "The budget as a number of parameters; wins over `budgetRank`." }),
  temperature: z
    .number()
    .positive()
    .default(1)
    .meta({ description: "β of p = σ((α − ζ) / β): the smaller, the sooner a candidate is certain." }),
  searchShare: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.4)
    .meta({ description: "Share of the training's steps that search; the rest train what was kept." }),
  structureLearningRate: z
    .number()
    .positive()
    .default(0.1)
    .meta({ description: "Learning rate of the structural parameters α, on D_val." }),
  ...moduleFields,
});

export type SspMethod = z.output<typeof sspMethod>;

/** `adapter_config.json` of an SSP adapter: with a budget a search, with null what it kept. */
export const sspAdapterConfig = z.object({
  peft_type: z.literal("MILORA_SSP"),
  ...plannedHeader,
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  budget: z.int().min(1).nullable(),
  temperature: z.number().positive(),
  /** In a search each module has both, as candidates; afterwards at least one. */
  ...plannedBody(z.strictObject({ ...plannedModule, lora: z.boolean(), bias: z.boolean() })),
});

export type SspAdapterConfig = z.output<typeof sspAdapterConfig>;
