import type { Backend } from "../backend/backend.js";
import { generateTexts, type GeneratedText } from "../generate/generate-texts.js";
import type { AdapterNames } from "./adapter-names.js";
import type { GenerateOptions, GenerateRequest } from "./call-options.js";

/** A text a request, each told by its tenant's own name. */
export const generateForTenants = async (
  backend: Backend,
  names: AdapterNames,
  options: GenerateOptions & { readonly requests: readonly GenerateRequest[] },
): Promise<readonly GeneratedText[]> => {
  const { requests } = options;
  const inner = requests.map(({ tenant, ...request }) => ({ ...request, adapter: names.inner(tenant) }));
  const texts = await generateTexts({ ...options, backend, requests: inner });
  return texts.map((text, index) => ({ ...text, tenant: requests[index]?.tenant ?? null }));
};
