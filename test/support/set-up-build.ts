import { execa } from "execa";
import { packageRoot } from "../../ts/bridge/environment/index.js";

/** Makes dist/ before tests that run the built package. */
export const setup = async (): Promise<void> => {
  await execa("node", ["scripts/bootstrap.mjs", "build"], {
    cwd: packageRoot,
    stdio: ["ignore", "inherit", "inherit"],
  });
};
