import type { Backend, BackendEvent } from "../backend/backend.js";
import { miloraHome } from "../bridge/environment/paths.js";
import type { Hub } from "../data/hub.js";

export { hubRecordText } from "../data/hub.js";

/** How far the fetching of rows from the hub is. */
export type FetchProgress = Omit<Extract<BackendEvent, { readonly type: "progress" }>, "type">;

/** The hub as Python asks it, with its rows in milora's cache folder; Python starts when something is to be fetched. */
export const createHub = (
  backend: () => Promise<Backend>,
  {
    signal,
    onFetch,
  }: {
    readonly signal?: AbortSignal | undefined;
    readonly onFetch?: ((progress: FetchProgress) => void) | undefined;
  },
): Hub => ({
  home: miloraHome(),
  fetch: async (part) => {
    const onEvent = (event: BackendEvent): void => {
      if (event.type === "progress") onFetch?.({ stage: event.stage, done: event.done, total: event.total });
    };
    return await (await backend()).call("fetchHubRows", { ...part, columns: [...part.columns] }, { signal, onEvent });
  },
});
