import { fileURLToPath } from "node:url";

/** The folder that Python imports `milora` from: `py/` of this package, seen from `ts/bridge` and `dist/bridge` alike. */
export const pythonPackageFolder = fileURLToPath(new URL("../../py", import.meta.url));
