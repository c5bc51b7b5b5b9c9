import { describeSetupProgress } from "../client/environment.js";
import { openMilora, type Milora } from "../client/milora.js";
import { tell } from "./output.js";

/** Opens a session whose set-up is told on stderr. */
export const openSession = (options: Parameters<typeof openMilora>[0]): Promise<Milora> =>
  openMilora(options, { onProgress: (progress) => tell(describeSetupProgress(progress)) });
