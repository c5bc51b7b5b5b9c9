import { describeSetupProgress } from "../client/environment.js";
import { openMilora, type Milora } from "../client/milora.js";
import { tell } from "./output.js";

/** The stages of a fetch, each told once. */
const fetchTeller = (): ((progress: { readonly stage: string; readonly done: number }) => void) => {
  let told = "";
  return ({ stage }) => {
    if (stage !== told) tell(stage);
    told = stage;
  };
};

/** Opens a session whose set-up is told on stderr. */
export const openSession = (options: Parameters<typeof openMilora>[0]): Promise<Milora> =>
  openMilora(options, {
    onProgress: (progress) => tell(describeSetupProgress(progress)),
    onFetch: fetchTeller(),
  });
