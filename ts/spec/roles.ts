import { z } from "zod";

/** The seven linear modules of a decoder layer in the paper's order: attention Q, K, V, O; FFN gate, up, down. */
export const roles = ["q", "k", "v", "o", "gate", "up", "down"] as const;

export const roleSchema = z.enum(roles);

export type Role = z.output<typeof roleSchema>;

/**
 * An expert's name. Usually a {@link Role}; a fused projection is one module and one expert (`qkv`, `gate_up`),
 * and a decoder that the roles do not fit uses its modules' own names.
 */
export const expertName = z.string().regex(/^[A-Za-z][A-Za-z0-9_]*$/);
