import { z } from "zod";

/** An option's values, separated by commas. */
export const commaList = z.string().transform((text) => text.split(",").map((part) => part.trim()));
